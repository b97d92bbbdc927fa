//! How a download gets a new URL for one that has expired.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

type Refreshed = Result<String, Box<dyn Error + Send + Sync>>;
type Function = dyn Fn(String) -> BoxFuture<'static, Refreshed> + Send + Sync;

/// How a download gets a new URL where access to the old one is refused.
#[derive(Clone)]
pub(crate) enum Refresh {
    /// The first line that this shell command prints.
    Command(String),
    /// What the caller's function returns for the old URL.
    Function(Arc<Function>),
}

impl Refresh {
    pub(crate) fn function<F>(refresh: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Refreshed> + Send + 'static,
    {
        Self::Function(Arc::new(move |old| Box::pin(refresh(old))))
    }
}

/// A command may hold a secret.
impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresh(..)")
    }
}

/// Two functions are equal where they are clones of one.
impl PartialEq for Refresh {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Command(one), Self::Command(other)) => one == other,
            (Self::Function(one), Self::Function(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Refresh {}
