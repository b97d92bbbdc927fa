//! Several sources of one object.

use partwise::PartSize;
use partwise::origin::{Object, Origin};

use crate::support::fixture::Fixture;
use crate::support::{connections, soon};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 64 * PART + 7;

fn requests_for_bytes(origin: &Origin) -> usize {
    let requests = origin.requests();
    requests.iter().filter(|r| r.method == "GET").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_the_same_tag_takes_its_share() {
    let object = Object::new(1, LENGTH);
    let primary = Origin::start(object.clone()).await.unwrap();
    let mirror = Origin::start(object.clone()).await.unwrap();
    let fixture = Fixture::new();
    let download = fixture
        .download(primary.url("x"))
        .mirror(mirror.url("somewhere/else"))
        .connections(connections(4))
        .part_size(PartSize::Bytes(PART));
    soon(download.build().unwrap().start().finish())
        .await
        .unwrap();
    fixture.file("x").is(&object);
    assert!(requests_for_bytes(&primary) > 0);
    assert!(requests_for_bytes(&mirror) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_another_object_gives_no_byte() {
    let object = Object::new(1, LENGTH);
    let primary = Origin::start(object.clone()).await.unwrap();
    let mirror = Origin::builder(Object::new(2, LENGTH))
        .last_modified(None)
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    let outcome = fixture
        .partwise(["get", "--mirror", &mirror.url("x"), &primary.url("x")])
        .exit_code(0);
    outcome.stderr_has("is left out");
    fixture.file("x").is(&object);
    assert_eq!(requests_for_bytes(&mirror), 0);
}
