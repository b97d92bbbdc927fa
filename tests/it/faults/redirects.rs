//! Redirects, and access that is refused.

use super::LENGTH;
use super::asked::{Asked, World};
use super::fault::{Fault, fault};
use super::table::hold;
use crate::support::fault::{Certificate, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn redirects() {
    let tables = [ways(), dead_ends(), secrets(), expiry(), refusals()];
    hold("redirects", tables.into_iter().flatten());
}

fn to(location: impl Into<String>) -> Reply {
    Reply::status(302).header("Location", location)
}

/// Each `/N` leads to the next one, and the last to the object.
fn chain(name: &'static str, hops: u32) -> Fault {
    fault(name).serves(move |asked| {
        let at = path(asked).trim_start_matches('/').parse().unwrap_or(0);
        if at < hops {
            to(format!("/{}", at + 1))
        } else {
            asked.honest()
        }
    })
}

fn path<'a>(asked: &Asked<'a>) -> &'a str {
    asked.request.target.split('?').next().unwrap_or_default()
}

fn ways() -> Vec<Fault> {
    let with = |name, status| {
        fault(name).serves(move |asked| match path(asked) {
            "/x" => to("y").with_status(status),
            _ => asked.honest(),
        })
    };
    vec![
        with("301", 301),
        with("303", 303),
        with("307", 307),
        with("308", 308),
        chain("ten redirects", 10),
        fault("a cookie and back to itself").serves(|asked| match asked.request.header("cookie") {
            Some("k=COOKIESECRET") => asked.honest(),
            _ => to("/x?signature=QUERYSECRET").header("Set-Cookie", "k=COOKIESECRET; Path=/"),
        }),
        fault("HEAD alone is redirected").head(|asked| match path(asked) {
            "/x" => to("/y"),
            _ => asked.honest(),
        }),
        fault("ranges alone are redirected").serves(|asked| match path(asked) {
            "/x" if !asked.is_head() => to("/y"),
            _ => asked.honest(),
        }),
        fault("another target each time").serves(|asked| match path(asked) {
            "/x" => to(format!("/{}", asked.request.nth)),
            _ => asked.honest(),
        }),
    ]
}

/// A redirect to this, which is not followed.
fn refused<const N: usize>(name: &'static str, location: &'static str, says: [&str; N]) -> Fault {
    fault(name).serves(move |_| to(location)).fails(3, says)
}

fn dead_ends() -> Vec<Fault> {
    vec![
        refused("a loop", "/x?signature=QUERYSECRET", ["circle"]),
        fault("a loop of two")
            .serves(|asked| {
                to(if path(asked) == "/x" {
                    "/y"
                } else {
                    "/x?signature=QUERYSECRET"
                })
            })
            .fails(3, ["circle"]),
        fault("a loop with a cookie")
            .serves(|_| to("/x?signature=QUERYSECRET").header("Set-Cookie", "k=COOKIESECRET"))
            .fails(3, ["more than 10 redirects"]),
        fault("a way without end")
            .serves(|asked| to(format!("/{}", asked.request.nth)))
            .fails(3, ["more than 10 redirects"]),
        chain("eleven redirects", 11).fails(3, ["more than 10 redirects"]),
        fault("no Location")
            .serves(|_| Reply::status(302))
            .fails(3, ["no Location"]),
        refused("an empty host", "http://", ["Location"]),
        refused("no URL at all", "http://[::1", ["Location"]),
        refused("file:", "file:///etc/passwd", ["`file`"]),
        refused("ftp:", "ftp://127.0.0.1/x", ["`ftp`"]),
        refused("data:", "data:text/plain,TARGETSECRET", ["`data`"]),
        fault("from https to http")
            .certificate(Certificate::self_signed("127.0.0.1"))
            .arguments(["-k"])
            .healed_by(["-k"])
            .serves(|_| to("http://127.0.0.1:9/x"))
            .fails(3, ["from https to http"]),
        fault("300 with choices")
            .serves(|_| to("/y").with_status(300))
            .fails(3, ["300"]),
        fault("305, use a proxy")
            .serves(|_| to("/y").with_status(305))
            .fails(3, ["305"]),
        fault("304 to nothing that was asked")
            .serves(|_| Reply::status(304))
            .fails(3, ["304"]),
        fault("a loop in mid-run")
            .later(|_| to("/x?signature=QUERYSECRET"))
            .fails(3, ["circle"]),
    ]
}

/// What the other server was told.
fn assert_told_nothing(world: &World<'_>) {
    let requests = world.elsewhere().requests();
    assert!(!requests.is_empty());
    for request in requests {
        for field in ["authorization", "x-key", "cookie", "referer"] {
            assert_eq!(request.header(field), None, "{field}: {}", request.target);
        }
    }
}

fn secrets() -> Vec<Fault> {
    vec![
        fault("another origin on the first hop")
            .serves(|asked| to(asked.elsewhere("y?TARGETSECRET")))
            .elsewhere(|asked| asked.honest())
            .check(|world, _| assert_told_nothing(world)),
        fault("another origin on a later hop")
            .serves(|asked| match path(asked) {
                "/x" => to("/y"),
                _ => to(asked.elsewhere("z?TARGETSECRET")),
            })
            .elsewhere(|asked| asked.honest())
            .check(|world, _| assert_told_nothing(world)),
        fault("another origin in mid-run")
            .serves(|asked| match asked.is_later() {
                true => to(asked.elsewhere("z?TARGETSECRET")),
                false => asked.honest(),
            })
            .elsewhere(|asked| asked.honest())
            .check(|world, _| assert_told_nothing(world)),
        fault("another origin that answers 404")
            .serves(|asked| to(asked.elsewhere("z?TARGETSECRET")))
            .elsewhere(|_| Reply::status(404))
            .fails(3, ["404", "redirected to http://127.0.0.1:"])
            .check(|world, _| assert_told_nothing(world)),
        fault("another origin with a password in the Location")
            .serves(|asked| {
                let url = asked.elsewhere("z?TARGETSECRET");
                to(url.replacen("://", "://them:TARGETSECRET@", 1))
            })
            .elsewhere(|_| Reply::status(500))
            .fails(3, ["500"]),
        fault("the own origin is told all again").serves(|asked| match path(asked) {
            "/x" => to("/y"),
            _ if asked.request.header("x-key") != Some("KEYSECRET") => Reply::status(401),
            _ => asked.honest(),
        }),
    ]
}

fn expiry() -> Vec<Fault> {
    vec![
        fault("a target that expires in mid-run").serves(|asked| {
            // The first signature is good for the discovery alone.
            match path(asked) {
                "/x" if asked.is_head() => to("/y?old"),
                "/x" => to("/y?new"),
                _ if asked.request.target.ends_with("old") && asked.is_later() => {
                    Reply::status(403)
                }
                _ => asked.honest(),
            }
        }),
        fault("a target that expires in mid-run, at another origin")
            .serves(|asked| to(asked.elsewhere(if asked.is_head() { "y?old" } else { "y?new" })))
            .elsewhere(|asked| {
                let is_old = asked.request.target.ends_with("old");
                if is_old && asked.is_later() {
                    Reply::status(403)
                } else {
                    asked.honest()
                }
            }),
        fault("the original expires in mid-run")
            .later(|_| Reply::status(403))
            .fails(7, ["403", "hint: resume with a fresh URL"]),
        fault("the original expires, and --refresh-cmd knows another")
            .later(|asked| {
                if asked.request.target.contains("fresh") {
                    asked.honest()
                } else {
                    Reply::status(403)
                }
            })
            .arguments_of(|world| {
                refresh(&format!("echo '{}'", world.origin.url("x?fresh=NEWSECRET")))
            }),
        fault("the original expires, and the fresh one at once")
            .later(|_| Reply::status(403))
            .arguments_of(|world| {
                refresh(&format!("echo '{}'", world.origin.url("x?fresh=NEWSECRET")))
            })
            .fails(7, ["403"]),
        fault("the fresh URL is another object's")
            .serves(|asked| match is_fresh(asked) {
                true => asked.tagged(Some("\"other\"")),
                false if asked.is_later() => Reply::status(403),
                false => asked.honest(),
            })
            .arguments_of(to_fresh)
            .fails(
                4,
                ["the object changed on the server", "the entity tag was"],
            ),
        fault("the fresh URL is another object's, before the first byte")
            .serves(|asked| match is_fresh(asked) {
                true => asked.tagged(Some("\"other\"")),
                false if !asked.is_head() => Reply::status(403),
                false => asked.honest(),
            })
            .arguments_of(to_fresh)
            .fails(
                4,
                ["the object changed on the server", "the entity tag was"],
            ),
        fault("the fresh URL is another object's, --on-change restart")
            .serves(|asked| match is_fresh(asked) {
                true => asked.tagged(Some("\"other\"")),
                false if asked.is_later() => Reply::status(403),
                false => asked.honest(),
            })
            .arguments_of(|world| {
                let restart = ["--on-change".to_owned(), "restart".to_owned()];
                [to_fresh(world), restart.to_vec()].concat()
            }),
        fault("--refresh-cmd fails")
            .later(|_| Reply::status(403))
            .arguments_of(|_| refresh("echo OUTPUTSECRET; exit 3"))
            .fails(7, []),
        fault("--refresh-cmd says nothing")
            .later(|_| Reply::status(403))
            .arguments_of(|_| refresh("true"))
            .fails(7, []),
        fault("--refresh-cmd says what is no URL")
            .later(|_| Reply::status(403))
            .arguments_of(|_| refresh("echo file:///OUTPUTSECRET"))
            .fails(7, []),
    ]
}

fn is_fresh(asked: &Asked<'_>) -> bool {
    asked.request.target.contains("fresh")
}

fn to_fresh(world: &World<'_>) -> Vec<String> {
    refresh(&format!("echo '{}'", world.origin.url("x?fresh=NEWSECRET")))
}

fn refresh(command: &str) -> Vec<String> {
    vec!["--refresh-cmd".to_owned(), command.to_owned()]
}

fn refusals() -> Vec<Fault> {
    vec![
        fault("401 from the first request on")
            .serves(|_| Reply::status(401).header("WWW-Authenticate", "Basic realm=\"SECRET\""))
            .fails(7, ["401", "hint: try a fresh URL or credentials"]),
        fault("401 in mid-run")
            .option("--connections", "4")
            .option("--retries", "8")
            .later(|_| Reply::status(401))
            .fails(7, ["401"])
            .check(|world, _| {
                let refused = world.origin.requests();
                let refused = refused
                    .iter()
                    .filter(|r| r.range(LENGTH).is_some_and(|(start, _)| start > 0));
                assert!(refused.count() <= 4, "all stop at once");
            }),
        fault("403 in mid-run")
            .later(|_| Reply::status(403))
            .once()
            .ends([0, 7], ["403"]),
        fault("407 where there is no proxy")
            .later(|_| Reply::status(407))
            .fails(3, ["407"]),
    ]
}
