use super::exit::{Exit, Failure};
pub(crate) fn run() -> Result<Exit, Failure> {
    todo!()
}
