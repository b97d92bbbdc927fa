use std::sync::Arc;

use futures::future::AbortHandle;

use super::*;
use crate::engine::schedule::lease::ActiveLease;
use crate::engine::schedule::scheduler::LeaseId;
use crate::object::ByteRange;

const NEAR: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(100);

/// Some leases, measured tick by tick.
struct Scene {
    begun: Instant,
    ticks: u32,
    leases: Vec<RateMeter>,
    silence: Silence,
}

/// What a tick showed, by the indices of the leases.
#[derive(Debug, PartialEq)]
enum Shown {
    Calm,
    Canary(usize),
    Dead(Vec<usize>),
}

impl Scene {
    /// So many transfers, of which each has brought bytes.
    fn flowing(leases: u64) -> Self {
        let mut scene = Self {
            begun: Instant::now(),
            ticks: 0,
            leases: Vec::new(),
            silence: Silence::default(),
        };
        for _ in 0..leases {
            scene.lease();
        }
        let all: Vec<_> = (0..scene.leases.len()).collect();
        assert_eq!(scene.tick(&all, false), Shown::Calm);
        scene
    }

    fn now(&self) -> Instant {
        self.begun + TICK * self.ticks
    }

    /// Grants a lease that waits for bytes. Each begins further back than the one before.
    fn lease(&mut self) -> usize {
        let at = 1_000_000 * (1_000 - self.leases.len() as u64);
        let range = ByteRange::at(at, 1_000_000).unwrap();
        let lease = ActiveLease::new(LeaseId(0), range, AbortHandle::new_pair().0);
        lease.does(Activity::Waiting);
        let meter = RateMeter::new(Arc::new(lease), self.now());
        self.leases.push(meter);
        self.leases.len() - 1
    }

    /// A tick in which these leases bring bytes.
    fn tick(&mut self, bring: &[usize], is_crowded: bool) -> Shown {
        let evidence = Evidence {
            is_crowded,
            ..Evidence::default()
        };
        self.ticks += 1;
        let now = self.now();
        for at in bring {
            let lease = &self.leases[*at].lease;
            lease.advance(lease.position() + 1);
        }
        for meter in &mut self.leases {
            meter.measure(now, NEAR);
        }
        let place = |found: &RateMeter| {
            let mut all = self.leases.iter();
            all.position(|meter| std::ptr::eq(meter, found)).unwrap()
        };
        match self.silence.check(self.leases.iter(), NEAR, evidence, now) {
            Signs::Calm => Shown::Calm,
            Signs::Silent { canary, .. } => Shown::Canary(place(canary)),
            Signs::Dead(dead) => Shown::Dead(dead.into_iter().map(place).collect()),
        }
    }

    /// How many ticks without a byte pass until a canary is sent, and which lease that is.
    fn silent_until_canary(&mut self, is_crowded: bool) -> (u32, usize) {
        for ticks in 1..1000 {
            match self.tick(&[], is_crowded) {
                Shown::Calm => {}
                Shown::Canary(at) => return (ticks, at),
                Shown::Dead(_) => panic!("nothing came"),
            }
        }
        panic!("no canary");
    }
}

#[test]
fn the_first_in_the_file_goes_ahead_after_a_second_of_silence() {
    let mut scene = Scene::flowing(4);
    assert_eq!(scene.silent_until_canary(false), (10, 3));
}

#[test]
fn one_transfer_or_a_server_that_refuses_some_gets_more_time() {
    assert_eq!(Scene::flowing(1).silent_until_canary(false).0, 30);
    assert_eq!(Scene::flowing(4).silent_until_canary(true).0, 50);
}

#[test]
fn nothing_is_suspicious_while_a_byte_comes_or_a_worker_writes() {
    let mut scene = Scene::flowing(3);
    for _ in 0..100 {
        assert_eq!(scene.tick(&[1], false), Shown::Calm);
    }
    scene.leases[0].lease.does(Activity::Writing);
    for _ in 0..100 {
        assert_eq!(scene.tick(&[], false), Shown::Calm);
    }
    for meter in &scene.leases {
        meter.lease.does(Activity::Paused);
    }
    for _ in 0..100 {
        assert_eq!(scene.tick(&[], false), Shown::Calm);
    }
}

#[test]
fn old_connections_are_dead_where_only_the_new_one_brings_bytes() {
    let mut scene = Scene::flowing(3);
    scene.silent_until_canary(false);
    scene.leases.pop();
    let canary = scene.lease();
    assert_eq!(scene.tick(&[], false), Shown::Calm);
    assert_eq!(scene.tick(&[canary], false), Shown::Dead(vec![0, 1]));
    assert!(!scene.silence.is_suspected());
}

#[test]
fn old_connections_that_go_on_were_only_slow_and_get_more_time() {
    let mut scene = Scene::flowing(3);
    scene.silent_until_canary(false);
    scene.leases.pop();
    scene.lease();
    for _ in 0..4 {
        assert_eq!(scene.tick(&[], false), Shown::Calm);
    }
    assert_eq!(scene.tick(&[0], false), Shown::Calm);
    assert!(!scene.silence.is_suspected());
    let (ticks, _) = scene.silent_until_canary(false);
    assert_eq!(ticks, 2 * 15);
}

#[test]
fn a_canary_that_stays_silent_is_replaced_at_growing_intervals() {
    let mut scene = Scene::flowing(2);
    scene.silent_until_canary(false);
    scene.leases.pop();
    let mut waits = Vec::new();
    for _ in 0..3 {
        scene.lease();
        waits.push(scene.silent_until_canary(false).0);
        scene.leases.pop();
    }
    assert_eq!(waits, [30, 60, 120]);
}

#[test]
fn a_server_that_is_slow_at_first_is_given_time() {
    let mut scene = Scene::flowing(0);
    for _ in 0..4 {
        scene.lease();
    }
    assert_eq!(scene.silent_until_canary(false).0, 50);
}
