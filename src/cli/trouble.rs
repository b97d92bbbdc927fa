//! Tells that nothing comes for a while, and that it comes again.

use std::time::{Duration, Instant};

use partwise::Event;

use super::text;

/// For how long nothing must have come before that is told. Most failures pass sooner.
const LEAST: Duration = Duration::from_secs(3);

/// Follows the failures of one download.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// When the first attempt failed since something came.
    since: Option<Instant>,
    is_told: bool,
}

impl Trouble {
    /// Whether nothing comes, and the user was told so.
    pub(crate) fn is_told(&self) -> bool {
        self.is_told
    }

    /// The notice for an event at `now`, if it calls for one.
    pub(crate) fn notice(&mut self, event: &Event, now: Instant) -> Option<String> {
        match event {
            Event::Retrying { reason, .. } => {
                let silent = now - *self.since.get_or_insert(now);
                if self.is_told || silent < LEAST {
                    return None;
                }
                self.is_told = true;
                Some(format!(
                    "nothing has come for {}: {}; trying again",
                    text::duration(silent),
                    text::visible(reason)
                ))
            }
            Event::Progress(progress) if progress.new_bytes > 0 => {
                let since = self.since.take()?;
                let told = std::mem::take(&mut self.is_told);
                told.then(|| format!("it goes on, after {}", text::duration(now - since)))
            }
            // These have notices of their own, and a pause is none of the server's.
            Event::Offline | Event::Paused | Event::Restarted { .. } | Event::Refreshed => {
                *self = Self::default();
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use partwise::Progress;

    use super::*;

    #[test]
    fn a_failure_is_told_once_it_lasts_and_so_is_its_end() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let failed = Event::Retrying {
            part: 0,
            reason: "refused".to_owned(),
            delay: Duration::ZERO,
        };
        let progress = |new_bytes| {
            let mut progress = Progress::default();
            progress.new_bytes = new_bytes;
            Event::Progress(progress)
        };
        let mut trouble = Trouble::default();
        let mut told = |event: &Event, seconds| trouble.notice(event, after(seconds));
        assert_eq!(told(&failed, 0), None);
        assert_eq!(told(&progress(1), 2), None, "it passed");
        assert_eq!(told(&failed, 10), None);
        assert_eq!(told(&progress(0), 12), None);
        let text = "nothing has come for 3.0 s: refused; trying again";
        assert_eq!(told(&failed, 13).as_deref(), Some(text));
        assert_eq!(told(&failed, 20), None);
        let text = "it goes on, after 15 s";
        assert_eq!(told(&progress(7), 25).as_deref(), Some(text));
        assert_eq!(told(&progress(7), 26), None);
    }
}
