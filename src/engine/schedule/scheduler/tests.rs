use std::time::Duration;

use super::*;
use proptest::prelude::*;

const BLOCK: u64 = 1 << 20;

fn link(connections: u32) -> LinkEstimate {
    LinkEstimate {
        connections,
        rate: 10e6,
        own: None,
        first_byte: Duration::from_millis(20),
    }
}

fn fresh(blocks: u32) -> Scheduler {
    let plan = BlockPlan::new(u64::from(blocks) * BLOCK, BLOCK).unwrap();
    Scheduler::new(plan, BlockBitmap::new(blocks))
}

#[test]
fn free_blocks_are_leased_from_the_front_in_shrinking_requests() {
    let mut scheduler = fresh(64);
    let mut lengths = Vec::new();
    let mut next = 0;
    while let Some(grant) = scheduler.take_free(&link(2), u32::MAX) {
        assert_eq!(grant.blocks.start, next);
        next = grant.blocks.end;
        lengths.push(grant.blocks.len());
    }
    assert_eq!(next, 64);
    assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
    assert_eq!(lengths[0], 32);
}

#[test]
fn a_single_connection_requests_everything_at_once() {
    let asked = |connections, rate| {
        let link = LinkEstimate {
            rate,
            ..link(connections)
        };
        let grant = fresh(4096).take_free(&link, u32::MAX).unwrap();
        grant.blocks.len()
    };
    assert_eq!([asked(1, 0.0), asked(1, 10e6)], [4096, 4096]);
    assert_eq!([asked(2, 0.0), asked(2, 10e6)], [16, 256]);
}

#[test]
fn a_lease_has_at_least_one_block() {
    let plan = BlockPlan::new(10, 5).unwrap();
    let mut scheduler = Scheduler::new(plan, BlockBitmap::new(2));
    let slow = LinkEstimate {
        connections: 30,
        rate: 0.5,
        own: None,
        first_byte: Duration::ZERO,
    };
    for block in 0..2 {
        let grant = scheduler.take_free(&slow, u32::MAX).unwrap();
        assert_eq!(grant.blocks, block..block + 1);
    }
    assert_eq!(scheduler.take_free(&slow, u32::MAX), None);
}

#[test]
fn a_fast_connection_gets_more_and_a_slow_one_less_within_bounds() {
    let share = |own| {
        let link = LinkEstimate { own, ..link(64) };
        let grant = fresh(1024).take_free(&link, u32::MAX).unwrap();
        grant.blocks.len()
    };
    let usual = share(None);
    assert_eq!(usual, 16);
    assert_eq!(share(Some(20e6)), 2 * usual);
    assert_eq!(share(Some(5e6)), usual / 2);
    assert_eq!(share(Some(1e9)), 4 * usual);
    assert_eq!(share(Some(1.0)), usual / 4);
}

#[test]
fn a_slow_connection_steals_a_shorter_tail() {
    let tail = |own| {
        let mut scheduler = fresh(100);
        scheduler.grant(0..100, GrantOrigin::Free);
        scheduler.free.clear();
        scheduler.free_blocks = 0;
        let observed = |_| Observed {
            position: 0,
            rate: Some(10e6),
            ..Observed::default()
        };
        let link = LinkEstimate {
            own,
            first_byte: Duration::ZERO,
            ..link(2)
        };
        let theft = scheduler.lease(&link, u32::MAX, observed).unwrap();
        theft.blocks.len()
    };
    assert_eq!(tail(None), 50);
    assert_eq!(tail(Some(10e6 / 4.0)), 20);
    assert_eq!(tail(Some(10e6 * 4.0)), 80);
}

#[test]
fn the_mean_tells_how_fast_a_lease_is_before_it_is_measured() {
    let theft = |mean| {
        let mut scheduler = fresh(100);
        scheduler.grant(0..100, GrantOrigin::Free);
        scheduler.free.clear();
        scheduler.free_blocks = 0;
        let observed = |_| Observed {
            mean,
            ..Observed::default()
        };
        let link = LinkEstimate {
            rate: 0.0,
            first_byte: Duration::ZERO,
            ..link(2)
        };
        scheduler.lease(&link, u32::MAX, observed)
    };
    let length = |mean| theft(mean).map(|grant| grant.blocks.len());
    // Nothing is known.
    assert_eq!(length(0.0), Some(50));
    assert_eq!(length(10e6), Some(50));
    // The rest is there in 10 ms.
    assert_eq!(length(100.0 * BLOCK as f64 / 0.01), None);
}

#[test]
fn no_lease_covers_a_completed_block() {
    let plan = BlockPlan::new(10 * BLOCK, BLOCK).unwrap();
    let mut done = BlockBitmap::new(10);
    for block in [0, 1, 4, 5, 9] {
        done.insert(BlockIndex(block));
    }
    let mut scheduler = Scheduler::new(plan, done);
    let mut asked = Vec::new();
    while let Some(grant) = scheduler.take_free(&link(1), u32::MAX) {
        asked.extend(grant.blocks);
    }
    assert_eq!(asked, [2, 3, 6, 7, 8]);
}

#[test]
fn the_tail_is_stolen_from_the_lease_with_the_most_time_left_not_the_most_bytes() {
    let mut scheduler = fresh(40);
    let quick = scheduler.grant(0..30, GrantOrigin::Free);
    let slow = scheduler.grant(30..40, GrantOrigin::Free);
    scheduler.free.clear();
    scheduler.free_blocks = 0;
    let observed = |id| Observed {
        position: if id == quick.id { 0 } else { 30 * BLOCK },
        rate: Some(if id == quick.id { 10e6 } else { 1e6 }),
        ..Observed::default()
    };
    let theft = scheduler.lease(&link(3), u32::MAX, observed).unwrap();
    assert_eq!(theft.origin, GrantOrigin::Stolen(slow.id));
    assert_eq!(theft.blocks.end, 40);
    // Both finish together: the thief is ten times as fast and takes about ten elevenths.
    assert_eq!(theft.blocks.start, 31);
    assert_eq!(scheduler.limit(slow.id), Some(31 * BLOCK));
}

#[test]
fn a_stalled_lease_is_hedged_once_and_the_first_to_finish_counts() {
    let mut scheduler = fresh(60);
    let rest = scheduler.grant(0..59, GrantOrigin::Free);
    let stuck = scheduler.grant(59..60, GrantOrigin::Free);
    scheduler.free.clear();
    scheduler.free_blocks = 0;
    for block in rest.blocks.clone() {
        scheduler.complete(rest.id, BlockIndex(block));
    }
    scheduler.release(rest.id, 59 * BLOCK);
    let observed = |_| Observed {
        position: 59 * BLOCK + 5,
        rate: Some(0.0),
        ..Observed::default()
    };
    let hedge = scheduler.lease(&link(2), u32::MAX, observed).unwrap();
    assert_eq!(hedge.origin, GrantOrigin::Hedge(stuck.id));
    assert_eq!(hedge.blocks, 59..60);
    assert_eq!(scheduler.lease(&link(3), u32::MAX, observed), None);
    let completion = scheduler.complete(hedge.id, BlockIndex(59));
    assert_eq!(
        completion,
        Completion::First {
            obsolete: vec![stuck.id]
        }
    );
    assert_eq!(
        scheduler.complete(stuck.id, BlockIndex(59)),
        Completion::Duplicate
    );
    assert!(scheduler.is_finished());
}

#[test]
fn hedges_keep_to_their_budget() {
    let mut scheduler = fresh(100);
    let grant = scheduler.grant(97..100, GrantOrigin::Free);
    scheduler.free.clear();
    scheduler.free_blocks = 0;
    let observed = |_| Observed {
        position: 98 * BLOCK - 1,
        rate: Some(0.0),
        ..Observed::default()
    };
    // The budget of 2 % is two blocks. The hedge would fetch three.
    scheduler.leases.get_mut(&grant.id).unwrap().next = 97;
    let hedge = scheduler.hedge(&link(2), &observed);
    assert_eq!(hedge, None);
}

#[test]
fn every_byte_that_was_fetched_twice_is_charged_to_the_budget() {
    let charged = |lose: fn(&mut Scheduler, LeaseId, LeaseId)| {
        let mut scheduler = fresh(100);
        let owner = scheduler.grant(99..100, GrantOrigin::Free);
        let hedge = scheduler.grant(99..100, GrantOrigin::Hedge(owner.id));
        let before = scheduler.hedge_bytes_left;
        lose(&mut scheduler, owner.id, hedge.id);
        before - scheduler.hedge_bytes_left
    };
    assert_eq!(charged(|s, _, hedge| s.release(hedge, 99 * BLOCK + 7)), 7);
    assert_eq!(charged(|s, owner, _| s.release(owner, 99 * BLOCK + 7)), 0);
    let hedge_finishes_first = |s: &mut Scheduler, owner, hedge| {
        s.complete(hedge, BlockIndex(99));
        s.release(owner, 99 * BLOCK + 9);
    };
    assert_eq!(charged(hedge_finishes_first), 9);
    let both_finish = |s: &mut Scheduler, owner, hedge| {
        s.complete(hedge, BlockIndex(99));
        s.complete(owner, BlockIndex(99));
        s.release(owner, 100 * BLOCK);
        s.release(hedge, 100 * BLOCK);
    };
    assert_eq!(charged(both_finish), BLOCK);
}

#[test]
fn bytes_that_a_theft_made_needless_are_not_charged_to_the_budget() {
    let mut scheduler = fresh(100);
    let owner = scheduler.grant(90..100, GrantOrigin::Free);
    let thief = scheduler.grant(95..100, GrantOrigin::Stolen(owner.id));
    scheduler.leases.get_mut(&owner.id).unwrap().end = 95;
    let before = scheduler.hedge_bytes_left;
    scheduler.complete(thief.id, BlockIndex(95));
    scheduler.release(owner.id, 95 * BLOCK + 7);
    assert_eq!(scheduler.hedge_bytes_left, before);
}

#[test]
fn reach_keeps_work_near_the_front() {
    let mut scheduler = fresh(100);
    let near = scheduler.take_free(&link(1), 4).unwrap();
    assert_eq!(near.blocks, 0..4);
    assert_eq!(scheduler.take_free(&link(1), 4), None);
    assert!(scheduler.take_free(&link(1), 5).is_some());
}

/// A call to the scheduler, with arbitrary arguments.
#[derive(Clone, Debug)]
enum Step {
    Lease { rate: u32 },
    Advance { which: usize, blocks: u32 },
    Fail { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..20u32).prop_map(|rate| Step::Lease { rate }),
        5 => (any::<usize>(), 0..6u32).prop_map(|(which, blocks)| Step::Advance { which, blocks }),
        1 => any::<usize>().prop_map(|which| Step::Fail { which }),
    ];
    prop::collection::vec(step, 0..200)
}

/// A connection: its lease and the next block that it fetches.
#[derive(Clone, Debug)]
struct Connection {
    id: LeaseId,
    next: u32,
    rate: f64,
}

/// The scheduler, the connections that use it, and the blocks that they completed.
struct SchedulerModel {
    scheduler: Scheduler,
    connections: Vec<Connection>,
    completed: Vec<u32>,
}

impl SchedulerModel {
    fn lease(&mut self, rate: u32) -> bool {
        let seen = self.connections.clone();
        let observe = |id| {
            let c = seen.iter().find(|c| c.id == id).unwrap();
            Observed {
                position: u64::from(c.next) * BLOCK + 7,
                rate: Some(c.rate),
                ..Observed::default()
            }
        };
        let Some(grant) = self.scheduler.lease(&link(4), u32::MAX, observe) else {
            return false;
        };
        assert!(!grant.blocks.is_empty());
        assert!(
            grant
                .blocks
                .clone()
                .all(|block| !self.scheduler.done().contains(BlockIndex(block)))
        );
        self.connections.push(Connection {
            id: grant.id,
            next: grant.blocks.start,
            rate: f64::from(rate) * 1e6,
        });
        true
    }

    fn advance(&mut self, which: usize, blocks: u32) {
        let id = self.connections[which % self.connections.len()].id;
        for _ in 0..blocks {
            let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else {
                return;
            };
            let block = connection.next;
            if u64::from(block) * BLOCK >= self.scheduler.limit(id).unwrap() {
                self.end(id);
                return;
            }
            connection.next += 1;
            if let Completion::First { obsolete } = self.scheduler.complete(id, BlockIndex(block)) {
                self.completed.push(block);
                for other in obsolete {
                    self.end(other);
                }
            }
        }
    }

    fn end(&mut self, id: LeaseId) {
        let ended = self.connections.iter().position(|c| c.id == id);
        let ended = self.connections.remove(ended.unwrap());
        self.scheduler
            .release(id, u64::from(ended.next) * BLOCK + 7);
    }

    fn fail(&mut self, which: usize) {
        self.end(self.connections[which % self.connections.len()].id);
    }

    /// Every block is completed, free or held by exactly one owner.
    fn assert_nothing_lost(&self) {
        let scheduler = &self.scheduler;
        let mut holders = vec![0u32; scheduler.plan().blocks() as usize];
        let owned = scheduler.owners().map(|(_, lease)| lease.next..lease.end);
        let free = scheduler.free.iter().map(|(start, end)| *start..*end);
        for block in owned.chain(free).flatten() {
            holders[block as usize] += 1;
        }
        let free_blocks: u32 = scheduler.free.iter().map(|(a, b)| b - a).sum();
        assert_eq!(scheduler.free_blocks, free_blocks);
        for (block, holders) in holders.iter().enumerate() {
            let block = BlockIndex(u32::try_from(block).unwrap());
            if scheduler.done().contains(block) {
                // An owner may still hold a block past its next one that another lease completed.
                assert!(*holders <= 1);
            } else {
                assert_eq!(*holders, 1, "block {block:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_block_completes_once_under_any_sequence_of_steps(
        blocks in 1..80u32,
        done_before in prop::collection::vec(0..80u32, 0..40),
        steps in steps(),
    ) {
        let plan = BlockPlan::new(u64::from(blocks) * BLOCK - 3, BLOCK).unwrap();
        let mut done = BlockBitmap::new(blocks);
        for block in &done_before {
            done.insert(BlockIndex(*block));
        }
        let before: Vec<u32> = done.iter().map(|block| block.0).collect();
        let mut model = SchedulerModel {
            scheduler: Scheduler::new(plan, done),
            connections: Vec::new(),
            completed: before,
        };
        for step in steps {
            match step {
                Step::Lease { rate } => { model.lease(rate); }
                Step::Advance { which, blocks } if !model.connections.is_empty() => model.advance(which, blocks),
                Step::Fail { which } if !model.connections.is_empty() => model.fail(which),
                Step::Advance { .. } | Step::Fail { .. } => {}
            }
            model.assert_nothing_lost();
        }
        // Continuing from any state completes every block once.
        while !model.scheduler.is_finished() {
            if model.connections.is_empty() {
                prop_assert!(model.lease(10), "an idle connection gets a lease while blocks are missing");
            }
            model.advance(0, 7);
            model.assert_nothing_lost();
        }
        model.completed.sort_unstable();
        prop_assert_eq!(model.completed, (0..blocks).collect::<Vec<_>>());
    }
}
