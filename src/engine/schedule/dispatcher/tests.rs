use super::*;

fn dispatcher(parts: u32) -> Dispatcher {
    let plan = Plan::new(u64::from(parts) * 100, 100).unwrap();
    Dispatcher::new(plan, plan.one_block_a_part(), CompletedParts::none(&plan))
}

#[test]
fn crcs_are_in_the_order_of_their_parts() {
    let dispatcher = dispatcher(4);
    let lease = dispatcher
        .lease(1, None, AbortHandle::new_pair().0)
        .unwrap();
    assert!(dispatcher.complete(&lease, BlockIndex(2), 22));
    assert!(dispatcher.complete(&lease, BlockIndex(0), 10));
    assert!(!dispatcher.complete(&lease, BlockIndex(0), 99));
    let completed = dispatcher.completed();
    assert_eq!(completed.crcs, [10, 22]);
    let plan = Plan::new(400, 100).unwrap();
    assert_eq!(
        Dispatcher::new(plan, plan.one_block_a_part(), completed)
            .completed()
            .crcs,
        [10, 22]
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_straggler_is_replaced() {
    let dispatcher = dispatcher(400);
    let mut leases = Vec::new();
    for _ in 0..4 {
        let (abort, registration) = AbortHandle::new_pair();
        leases.push((
            dispatcher.lease(4, None, abort.clone()).unwrap(),
            abort,
            registration,
        ));
    }
    leases.iter().for_each(|(lease, ..)| lease.comes_from(0));
    let (straggler, quick) = leases.split_first().unwrap();
    for second in 1..=10 {
        tokio::time::advance(Duration::from_secs(1)).await;
        straggler.0.advance(straggler.0.range.start() + second);
        for (lease, ..) in quick {
            lease.advance(lease.range.start() + 50 * second);
        }
        dispatcher.tick(Instant::now());
        dispatcher.replace_straggler(Instant::now());
        assert_eq!(straggler.1.is_aborted(), second > 2, "after {second} s");
    }
    assert!(quick.iter().all(|(_, abort, _)| !abort.is_aborted()));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_lease_is_replaced_once_and_its_failures_keep_their_count() {
    let dispatcher = dispatcher(400);
    let lease = || {
        let lease = dispatcher
            .lease(3, None, AbortHandle::new_pair().0)
            .unwrap();
        lease.comes_from(0);
        lease
    };
    let mut stuck = lease();
    let quick = [lease(), lease()];
    let mut seconds = 0;
    let mut replaced = async |stuck: &ActiveLease, position| {
        stuck.advance(position);
        let mut replaced = 0;
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
            for lease in &quick {
                lease.advance(lease.range.start() + 50 * seconds);
            }
            dispatcher.tick(Instant::now());
            replaced += u32::from(dispatcher.replace_straggler(Instant::now()));
        }
        replaced
    };
    stuck.advance(10);
    assert_eq!(dispatcher.failed(&stuck, 0).count, 1);
    assert_eq!(replaced(&stuck, 10).await, 0);
    assert_eq!(replaced(&stuck, 11).await, 1);
    dispatcher.release(&stuck);
    stuck = lease();
    assert_eq!(stuck.range.start(), 0);
    assert_eq!(replaced(&stuck, 11).await, 0);
    assert_eq!(dispatcher.failed(&stuck, 0).count, 1);
    dispatcher.release(&stuck);
    stuck = lease();
    assert_eq!(dispatcher.failed(&stuck, 0).count, 2);
    dispatcher.release_all();
    assert_eq!(dispatcher.failed(&stuck, 0).count, 1);
}

#[test]
fn coverage_in_percent() {
    let dispatcher = dispatcher(10);
    let lease = dispatcher
        .lease(1, None, AbortHandle::new_pair().0)
        .unwrap();
    for part in [0, 1, 2, 5, 9] {
        dispatcher.complete(&lease, BlockIndex(part), 0);
    }
    assert_eq!(dispatcher.coverage(2), [60, 40]);
    assert_eq!(dispatcher.coverage(5), [100, 50, 50, 0, 50]);
    assert_eq!(dispatcher.coverage(20)[..4], [100, 100, 100, 100]);
    assert_eq!(dispatcher.front(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_straggler_that_is_not_replaced_is_hedged() {
    let dispatcher = dispatcher(400);
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(
            dispatcher
                .lease(3, None, AbortHandle::new_pair().0)
                .unwrap(),
        );
    }
    for tenth in 1..=20 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for lease in &leases {
            lease.advance(lease.range.start() + 50 * tenth);
        }
        dispatcher.tick(Instant::now());
    }
    // Every part completes but the last one of the last lease, which arrives a byte at a time.
    while let Some(lease) = dispatcher.lease(3, None, AbortHandle::new_pair().0) {
        leases.push(lease);
    }
    let straggler = leases.pop().unwrap();
    let plan = Plan::new(40_000, 100).unwrap();
    let last = plan.part_at(straggler.range.end() - 1).unwrap();
    for part in (0..400).filter(|part| *part != last.index.0) {
        dispatcher.complete(&straggler, BlockIndex(part), 0);
    }
    leases.iter().for_each(|lease| dispatcher.release(lease));
    for second in 1..=5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        straggler.advance(last.range.start() + second);
        dispatcher.tick(Instant::now());
    }
    let hedge = dispatcher.lease(2, None, AbortHandle::new_pair().0);
    assert_eq!(hedge.map(|hedge| hedge.range), Some(last.range));
}
