//! The command line: what it prints and which code it ends with.

use assert_cmd::Command;
use insta::assert_snapshot;

/// The command, in an empty environment and an empty folder.
fn partwise(folder: &tempfile::TempDir) -> Command {
    let mut command =
        Command::cargo_bin("partwise").expect("cargo builds the command for the tests");
    command.env_clear().current_dir(folder);
    command
}

/// Everything that a command line leads to, as a text to compare.
fn run(arguments: &[&str]) -> String {
    run_with_input(arguments, "")
}

fn run_with_input(arguments: &[&str], input: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = partwise(&folder)
        .args(arguments)
        .write_stdin(input)
        .output()
        .expect("the command runs");
    let left = std::fs::read_dir(&folder)
        .expect("the folder is still there")
        .count();
    assert_eq!(
        left, 0,
        "a command line that is wrong leaves nothing behind"
    );
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is text");
    let (stdout, stderr) = (text(ran.stdout), text(ran.stderr));
    assert!(
        !stderr.contains('\u{1b}'),
        "no control sequence where there is no terminal: {stderr:?}"
    );
    let code = ran.status.code().expect("an exit code");
    format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
}

#[test]
fn help() {
    assert_snapshot!(run(&["--help"]));
}

#[test]
fn help_of_get() {
    assert_snapshot!(run(&["get", "--help"]));
}

#[test]
fn help_of_bench() {
    assert_snapshot!(run(&["bench", "--help"]));
}

#[test]
fn help_of_inspect() {
    assert_snapshot!(run(&["inspect", "--help"]));
}

#[test]
fn no_arguments_print_the_help_and_fail() {
    let told = run(&[]);
    assert!(
        told.starts_with("exit 2\n--- stdout\n--- stderr\npartwise: error: "),
        "{told}"
    );
    assert!(
        told.contains("Usage: partwise [OPTIONS] <URL>..."),
        "{told}"
    );
}

#[test]
fn version() {
    insta::with_settings!({filters => vec![(r"\d+\.\d+\.\d+\S*", "[version]")]}, {
        assert_snapshot!(run(&["--version"]), @r#"
        exit 0
        --- stdout
        partwise [version]
        --- stderr
        "#);
    });
}

#[test]
fn wrong_option() {
    assert_snapshot!(run(&["--fres", "http://127.0.0.1/a"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: command line: unexpected argument '--fres' found
    hint: a similar argument exists: '--fresh'
    "#);
}

#[test]
fn missing_url() {
    assert_snapshot!(run(&["get"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: command line: no URL was given
    hint: name a URL, or a file of them with -i
    "#);
}

#[test]
fn bad_size() {
    assert_snapshot!(run(&["http://127.0.0.1/a", "--part-size", "8Q"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: command line: invalid value '8Q' for '--part-size <SIZE|auto>': expected bytes, such as 1048576, 512KiB, 8M or 1G
    hint: see 'partwise --help'
    "#);
}

#[test]
fn bad_seconds() {
    assert_snapshot!(run(&["http://127.0.0.1/a", "--stall-timeout", "-1"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: command line: invalid value '-1' for '--stall-timeout <S>': expected a positive number of seconds, such as 10 or 0.5
    hint: see 'partwise --help'
    "#);
}

#[test]
fn bad_choice() {
    assert_snapshot!(run(&["http://127.0.0.1/a", "--writer", "tape"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: command line: invalid value 'tape' for '--writer <HOW>' [possible values: auto, mmap, pwrite]
    hint: see 'partwise --help'
    "#);
}

#[test]
fn bad_url() {
    assert_snapshot!(run(&["example.org/a?signature=secret"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: URL example.org/a: expected http:// or https://, found neither
    hint: see 'partwise --help'
    "#);
}

#[test]
fn bad_url_with_control_characters() {
    assert_snapshot!(run(&["\u{1b}[31m\u{202e}"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: URL \u{1b}[31m\u{202e}: expected http:// or https://, found neither
    hint: see 'partwise --help'
    "#);
}

#[test]
fn mistyped_command() {
    assert_snapshot!(run(&["-v", "inspect", "a"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: URL inspect: expected http:// or https://, found neither
    hint: put the command before all options: partwise inspect ...
    "#);
}

#[test]
fn several_urls_with_one_output() {
    assert_snapshot!(run(&["-o", "x", "http://127.0.0.1/a", "http://127.0.0.1/b"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: --output: expected one download, found 2
    hint: an input file (-i) gives each download its own name, checksums and mirrors
    "#);
}

#[test]
fn report_and_bytes_on_standard_output() {
    assert_snapshot!(run(&["-o", "-", "--json", "http://127.0.0.1/a"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: --json: standard output takes the report or, with -o -, the bytes, but not both
    "#);
}

#[test]
fn header_without_a_colon_is_not_shown() {
    assert_snapshot!(run(&["-H", "Authorization secret", "http://127.0.0.1/a"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: --header: expected 'NAME: VALUE', found no colon
    "#);
}

#[test]
fn bad_input_file() {
    let list = "http://127.0.0.1/a\n  out=a\n  split=5\n";
    assert_snapshot!(run_with_input(&["-i", "-"], list), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: standard input:3: option split: expected out, dir or checksum
    "#);
}

#[test]
fn empty_input_file() {
    assert_snapshot!(run_with_input(&["-i", "-"], "# nothing\n"), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: --input-file: expected at least one URL, found none
    "#);
}

#[test]
fn missing_input_file() {
    assert_snapshot!(run(&["-i", "list"]), @r#"
    exit 6
    --- stdout
    --- stderr
    partwise: error: input file list: No such file or directory (os error 2)
    "#);
}

#[test]
fn inspect_of_a_missing_file() {
    assert_snapshot!(run(&["inspect", "v.mp4"]), @r#"
    exit 6
    --- stdout
    --- stderr
    partwise: error: inspect v.mp4: no checkpoint: expected v.mp4.part.ckpt, found nothing
    "#);
}

#[test]
fn inspect_without_a_file() {
    assert_snapshot!(run(&["inspect"]), @r#"
    exit 2
    --- stdout
    --- stderr
    partwise: error: command line: the following required arguments were not provided: <FILE>
    hint: see 'partwise --help'
    "#);
}

#[test]
fn completions_name_the_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let told = run(&["completions", shell]);
        assert!(told.starts_with("exit 0\n"), "{shell}: {told}");
        assert!(told.contains("if-unmodified-since"), "{shell}: {told}");
    }
}

#[test]
fn manual_page_has_its_sections() {
    let told = run(&["man"]);
    assert!(told.starts_with("exit 0\n"), "{told}");
    for section in [
        ".SH COMMANDS",
        ".SH \"EXIT STATUS\"",
        ".SH FILES",
        ".SH EXAMPLES",
    ] {
        assert!(told.contains(section), "{section} is not in {told}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("partwise"));
    let status = command
        .arg("man")
        .env_clear()
        .current_dir(&folder)
        .stdout(writer)
        .status()
        .expect("the command runs");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_standard_output_that_is_full_is_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full opens");
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("partwise"));
    let status = command
        .arg("man")
        .env_clear()
        .current_dir(&folder)
        .stdout(full)
        .status()
        .expect("the command runs");
    assert_eq!(status.code(), Some(6));
}
