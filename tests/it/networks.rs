//! Networks that go and come back, for real: in network namespaces, which only root can make.
//!
//! The stall timeout is longer than the test may last, and there are no retries. So a download that
//! ends well neither waited for a stall nor counted the lost network as a failure.

use partwise::origin::{Object, Origin};

use crate::support::fixture::{Fixture, Running};
use crate::support::line::{Line, MOVED, SERVER};

const LENGTH: u64 = (24 << 20) + 5;
/// Bytes a second over each connection: the download lasts until after what happens to the line.
const RATE: u64 = 3 << 20;
const NAME: &str = "server.test";

fn object() -> Object {
    Object::new(13, LENGTH)
}

/// A download of the object over a line that works.
struct Scene {
    line: Line,
    fixture: Fixture,
    _origin: Origin,
    port: u16,
}

impl Scene {
    async fn new() -> Option<Self> {
        let mut line = Line::lay()?;
        let origin = Origin::builder(object()).rate_per_connection(RATE);
        let origin = origin.start().await.unwrap();
        let port = line.serve(&origin);
        Some(Self {
            line,
            fixture: Fixture::new(),
            _origin: origin,
            port,
        })
    }

    fn start(&self, options: &[&str]) -> Running {
        self.start_from(&SERVER.to_string(), options)
    }

    fn start_from(&self, host: &str, options: &[&str]) -> Running {
        let url = format!("http://{host}:{}/x", self.port);
        let fixed = [
            "get",
            "-c",
            "4",
            "-p",
            "256KiB",
            "--stall-timeout",
            "300",
            "--retries",
            "0",
            "--progress",
            "json",
            "--json",
            &url,
        ];
        let arguments = fixed.into_iter().chain(options.iter().copied());
        let command = self.fixture.partwise(arguments);
        command.under(&self.line.at_client()).spawn()
    }

    fn is_whole(&self) {
        self.fixture.file("x").is(&object());
        self.fixture.assert_holds_only(["x"]);
    }
}

fn wait_for(running: &Running, name: &str) {
    running.wait_for_event(|event| event["event"] == name);
}

fn wait_for_bytes(running: &Running) {
    running.wait_for_event(|event| event["completed_bytes"].as_u64() >= Some(LENGTH / 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_changes_costs_no_stall() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let running = scene.start(&[]);
    wait_for_bytes(&running);
    scene.line.leave_network();
    scene.line.join_network();
    running.exit_code(0);
    scene.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_pulled_is_waited_for() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let running = scene.start(&[]);
    wait_for_bytes(&running);
    scene.line.cut();
    wait_for(&running, "offline");
    scene.line.mend();
    wait_for(&running, "online");
    running.exit_code(0);
    scene.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_loses_all_is_waited_for() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let running = scene.start(&[]);
    wait_for_bytes(&running);
    scene.line.lose_all();
    wait_for(&running, "offline");
    scene.line.carry();
    wait_for(&running, "online");
    running.exit_code(0);
    scene.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_may_begin_before_there_is_a_network() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    scene.line.leave_network();
    // Before the first answer a failure of the network counts once.
    let running = scene.start(&["--retries", "1"]);
    wait_for(&running, "offline");
    scene.line.join_network();
    running.exit_code(0);
    scene.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_stays_away_ends_the_run_and_the_next_run_resumes() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    for patience in ["0", "1.5"] {
        let running = scene.start(&["--wait-online", patience]);
        wait_for_bytes(&running);
        scene.line.cut();
        let ended = running.exit_code(3);
        ended.stderr_has("could not connect");
        ended.stderr_has("hint: ");
        scene.line.mend();
    }
    let report = scene.start(&[]).exit_code(0).json();
    assert!(report["resumed_bytes"].as_u64() > Some(0), "{report}");
    scene.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moves_is_found_by_its_name() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    scene.line.name_server(NAME, SERVER);
    let running = scene.start_from(NAME, &[]);
    wait_for_bytes(&running);
    scene.line.move_server();
    scene.line.name_server(NAME, MOVED);
    running.exit_code(0);
    scene.is_whole();
}
