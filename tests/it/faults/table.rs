//! Tables of faults, and the oracle that each of their rows is held against.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use partwise::origin::Object;
use tokio::runtime::Handle;

use crate::support::fixture::{Fixture, Outcome};

/// How many rows are looked at at once: most of them wait.
const AT_ONCE: usize = 8;

/// What stands at the final name before a download.
pub(super) const PRECIOUS: &str = "precious";

/// `me:USERSECRET`, as Basic authentication sends it.
const BASIC: &str = "bWU6VVNFUlNFQ1JFVA";

/// A fault, and what finds out how partwise takes it.
pub(super) struct Row {
    name: String,
    run: Box<dyn FnOnce() + Send>,
}

/// A row of its own making.
pub(super) fn row(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Row {
    Row {
        name: name.into(),
        run: Box::new(run),
    }
}

/// Looks at every row, names all that fail, and says how many there were.
#[track_caller]
pub(super) fn hold<R: Into<Row>>(heading: &str, rows: impl IntoIterator<Item = R>) {
    let rows: Vec<Row> = rows.into_iter().map(Into::into).collect();
    let count = rows.len();
    let (rows, failed) = (Mutex::new(rows.into_iter()), Mutex::new(Vec::new()));
    let runtime = Handle::current();
    let work = || {
        let _entered = runtime.enter();
        loop {
            let next = rows.lock().unwrap().next();
            let Some(Row { name, run }) = next else {
                return;
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                let why = text_of(&*panic);
                failed.lock().unwrap().push(format!("{name}: {why}"));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{heading}: {} of {count} rows fail:\n\n{}",
        failed.len(),
        failed.join("\n\n")
    );
    println!("faults: {heading}: {count}");
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}

/// The ways in which a run may end.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// The exit codes that are right.
    pub(super) codes: Vec<i32>,
    /// What standard error names where the code is not 0.
    pub(super) says: Vec<String>,
}

impl Ends {
    pub(super) fn with(code: i32, says: &[&str]) -> Self {
        Self {
            codes: vec![code],
            says: says.iter().copied().map(str::to_owned).collect(),
        }
    }

    pub(super) fn well() -> Self {
        Self::with(0, &[])
    }
}

/// Holds what must hold after every run: at the final name stands what stood there before, or the
/// whole object where the exit code is 0. Returns whether it is.
#[track_caller]
pub(super) fn assert_sound(
    fixture: &Fixture,
    outcome: &Outcome,
    ends: &Ends,
    object: &Object,
) -> bool {
    assert_ends(outcome, ends);
    assert_no_secret(outcome);
    if outcome.code() == 0 {
        fixture.file("x").is(object);
        fixture.assert_no_leftovers();
        return true;
    }
    fixture.file("x").is_text(PRECIOUS);
    false
}

/// Holds that a run ended in one of these ways and said why.
#[track_caller]
pub(super) fn assert_ends(outcome: &Outcome, ends: &Ends) {
    let (code, stderr) = (outcome.code(), outcome.stderr());
    assert!(
        ends.codes.contains(&code),
        "exit code {code} is none of {:?}:\n{stderr}",
        ends.codes
    );
    if code != 0 && code < 128 {
        outcome.stderr_has("partwise: error: ");
        for text in &ends.says {
            outcome.stderr_has(text);
        }
    }
}

/// Holds that a run neither showed a secret, on its way to the terminal or to a file, nor anything
/// that steers a terminal. All secrets of these tests have the word in them.
#[track_caller]
pub(super) fn assert_no_secret(outcome: &Outcome) {
    outcome.assert_no_secret("SECRET").assert_no_secret(BASIC);
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for text in [
        outcome.stderr(),
        String::from_utf8_lossy(outcome.stdout()).into_owned(),
    ] {
        assert!(!text.chars().any(steers), "it steers a terminal: {text:?}");
    }
}
