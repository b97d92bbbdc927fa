//! Shell completions and the manual page, generated from the definition of the command line.

use std::io;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::Cli;
use super::exit::{Exit, Failure};
use super::output;

/// Prints the completions for `shell`.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "partwise", &mut script);
    output::write(&script)?;
    Ok(Exit::SUCCESS)
}

/// Prints the manual page, in roff.
pub(crate) fn man_page() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| Failure::new(Exit::UNEXPECTED, "manual page", error))?;
    output::write(&page)?;
    Ok(Exit::SUCCESS)
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    // The page has a separate section for the exit codes.
    let man = Man::new(Cli::command().after_help("")).manual("User Commands");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    commands().to_writer(page)?;
    man.render_options_section(page)?;
    sections().to_writer(page)
}

/// The section that lists the commands, which have no separate pages.
fn commands() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    let mut command = Cli::command();
    command.build();
    for command in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        let positionals = command.get_positionals().map(|value| format!(" {value}"));
        let usage: String = positionals.collect();
        roff.control("TP", []);
        roff.text([bold(format!("partwise {}{usage}", command.get_name()))]);
        roff.text([roman(
            command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
        )]);
    }
    roff
}

fn sections() -> Roff {
    let mut roff = Roff::new();
    for (title, entries) in SECTIONS {
        roff.control("SH", [*title]);
        for (term, text) in *entries {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*text)]);
        }
    }
    roff
}

type Section = (&'static str, &'static [(&'static str, &'static str)]);

const SECTIONS: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            (
                "0",
                "Every file is complete at its final name, or the server has nothing newer than a condition asks for.",
            ),
            ("1", "Unexpected."),
            ("2", "The command line is wrong."),
            (
                "3",
                "The network or the server failed and the retries are used up, or the server sent an invalid reply or a \
                 page in place of the object. Run the same command again to resume.",
            ),
            (
                "4",
                "The object changed on the server, or does not match --if-match or --if-unmodified-since.",
            ),
            ("5", "The bytes do not match a checksum."),
            (
                "6",
                "A local file failed: disk full, no permission, locked by another run, a file in the way (also a \
                 NAME.part of another program), or with -o - a standard output that is closed.",
            ),
            (
                "7",
                "The server refused access (401, 403). Resume with a fresh URL or credentials.",
            ),
            (
                "129, 130, 143",
                "SIGHUP, SIGINT or SIGTERM stopped the command after it committed the checkpoint. If the checkpoint could not \
                 be written, a message says so. A signal that is ignored when the command starts stays ignored.",
            ),
            (
                "141",
                "The reader of standard output (-o -) went away before it had every byte. Nothing is printed.",
            ),
            (
                "",
                "With several files, partwise tries all of them and exits with the first code that is not 0, in the order of the list.",
            ),
        ],
    ),
    (
        "WHEN THE NETWORK FAILS",
        &[
            (
                "The address changes",
                "As from Wi-Fi to cellular. All connections fall silent at once; after about 1 s one new connection is tried, and \
                 the others follow it.",
            ),
            (
                "The network is gone",
                "No route, no address, no name server, or no answer of a server that has answered before. partwise says so, \
                 and tries again each second, for up to --wait-online (600 s). No retry is counted.",
            ),
            (
                "The server is down",
                "It refuses connections, or closes them before it answers. partwise tries again for 2 minutes, or half of \
                 that if the server has never answered; --retries (8) changes that.",
            ),
            (
                "The server answers with an error that may pass",
                "429, 500, 502, 503, 504 and others: --retries (8) further attempts for a range, counted anew after each byte.",
            ),
            (
                "The server refuses some of the requests",
                "As for a link that may be used a few times. The requests under way go on, and fewer connections are used.",
            ),
            (
                "The URL has expired",
                "--refresh-cmd gives a fresh one after 401, 403, 410 and what a store says of expiry; after bytes came under \
                 the URL, after any 4xx that may be due to the URL; and ahead of time if the URL tells when it expires. It is \
                 asked at most three times without a byte in between. Without it, exit status 7.",
            ),
            (
                "No byte comes, though others do",
                "After --stall-timeout (15 s), the bytes are requested over another connection.",
            ),
            (
                "A connection is slow",
                "Towards the end of the file, a faster one takes over what it has left. --lowest-speed (none) replaces it \
                 earlier, and sets a bound for the whole.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "NAME",
                "The file. It gets this name only when it is complete and verified. Its permissions are those of the file \
                 that it replaces (--overwrite), otherwise the umask decides.",
            ),
            (
                "NAME.part",
                "The partial file. It has the full length from the start.",
            ),
            (
                "NAME.part.ckpt",
                "The checkpoint. It names the completed parts and the version of the object they belong to, and contains \
                 no secret. After a failure both files stay, and the next run resumes from them, also under another URL.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY",
                "The proxy, if neither --proxy nor --no-proxy is given. One that can't be used is an error.",
            ),
            (
                "NO_PROXY",
                "What goes through no proxy, also not through that of --proxy: domains, addresses and networks, each with \
                 or without a port, or * for everything.",
            ),
            ("NETRC", "The file that --netrc reads instead of ~/.netrc."),
            ("NO_COLOR", "If set, partwise prints no colours."),
            (
                "PARTWISE_URL",
                "Set for the command of --refresh-cmd: the URL that was refused or is about to expire. The command may take 60 s, \
                 and is run once more if it fails. What it starts is killed when it ends, and when partwise ends.",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            (
                "partwise https://example.org/video.mp4",
                "Download a file. After an interruption, the same command resumes.",
            ),
            (
                "partwise -o v.mp4 --checksum sha-256=HEX https://example.org/video.mp4",
                "Choose the file's name and verify its checksum.",
            ),
            (
                "partwise -o - https://example.org/a.tar.gz | tar xz",
                "Download over several connections and unpack in order.",
            ),
            (
                "partwise inspect v.mp4",
                "Show what an interrupted download has completed.",
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_page_has_every_option_and_section() {
        let mut page = Vec::new();
        render(&mut page).expect("written to memory");
        let page = String::from_utf8(page)
            .expect("roff is text")
            .replace("\\-", "-");
        for option in Cli::command()
            .get_arguments()
            .filter_map(|option| option.get_long())
        {
            assert!(page.contains(&format!("--{option}")), "{option}");
        }
        for section in [
            "SYNOPSIS",
            "EXIT STATUS",
            "FILES",
            "ENVIRONMENT",
            "EXAMPLES",
        ] {
            assert!(page.contains(section), "{section}");
        }
    }
}
