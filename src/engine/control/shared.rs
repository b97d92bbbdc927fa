//! What a running download and its handle share.

use std::sync::{Arc, Mutex, PoisonError};

use super::Control;
use super::events::Hub;
use crate::engine::schedule::dispatcher::Board;
use crate::report::Samples;

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) control: Control,
    pub(crate) hub: Arc<Hub>,
    /// The board of the transfer, once there is one. Held to copy the pointer alone.
    board: Mutex<Option<Arc<Board>>>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            control: Control::new(),
            hub: Arc::default(),
            board: Mutex::new(None),
        }
    }

    pub(crate) fn show(&self, board: &Arc<Board>) {
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(board));
    }

    /// How much of each of `cells` equal stretches is there, in percent.
    pub(crate) fn coverage(&self, cells: usize) -> Vec<u8> {
        self.board()
            .map_or_else(Vec::new, |board| board.coverage(cells))
    }

    /// What single requests of the transfer were like.
    pub(crate) fn samples(&self) -> Samples {
        self.board()
            .map_or_else(Samples::default, |board| board.samples())
    }

    fn board(&self) -> Option<Arc<Board>> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.clone()
    }
}
