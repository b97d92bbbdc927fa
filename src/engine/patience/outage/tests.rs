use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn attempt(outages: &Outages, begun: Instant, cause: Cause) -> Failed {
    Failed {
        round: outages.round(),
        begun,
        is_scout: outages.is_on(),
        cause,
    }
}

/// Outages that have just begun: two attempts failed without a byte in between.
fn begun(now: Instant, cause: Cause) -> (Outages, Judged) {
    let mut outages = Outages::default();
    let first = attempt(&outages, now, cause);
    outages.failed(&first, 10, now);
    let second = attempt(&outages, now, cause);
    let judged = outages.failed(&second, 10, now);
    (outages, judged)
}

#[test]
fn failures_with_bytes_between_them_are_no_outage() {
    let now = Instant::now();
    let mut outages = Outages::default();
    for fetched in 0..5 {
        let failed = attempt(&outages, now, Cause::Server);
        assert!(!outages.failed(&failed, fetched, now).in_outage);
        assert_eq!(outages.admit(now), Admission::Free);
    }
}

#[test]
fn one_attempt_goes_ahead_and_those_that_fail_together_count_once() {
    let now = Instant::now();
    let (mut outages, judged) = begun(now, Cause::Server);
    assert!(judged.in_outage && judged.leads);
    assert_eq!(judged.failures, 1);
    let late = Failed {
        round: outages.round() - 1,
        is_scout: false,
        ..attempt(&outages, now, Cause::Server)
    };
    let again = outages.failed(&late, 10, now);
    assert_eq!((again.leads, again.failures), (false, 1));
    outages.wait_until(now + SECOND);
    assert_eq!(outages.admit(now), Admission::NotBefore(now + SECOND));
    assert_eq!(outages.admit(now + SECOND), Admission::Scout);
    assert_eq!(outages.admit(now + SECOND), Admission::Behind);
    let scout = attempt(&outages, now + SECOND, Cause::Server);
    let judged = outages.failed(&scout, 10, now + SECOND);
    assert_eq!((judged.leads, judged.failures), (true, 2));
    assert_eq!(judged.since, now);
    assert_eq!(outages.admit(now + SECOND * 9), Admission::Scout);
    outages.scout_ended(outages.round());
    assert_eq!(outages.admit(now + SECOND * 9), Admission::Scout);
}

#[test]
fn a_network_that_is_gone_is_tried_each_second_and_counts_no_failure() {
    let now = Instant::now();
    let (mut outages, judged) = begun(now, Cause::Offline);
    assert_eq!((judged.offline, judged.failures), (Some(now), 0));
    assert_eq!(judged.news, Some(News::Gone));
    assert_eq!(outages.admit(now), Admission::NotBefore(now + SECOND));
    assert_eq!(outages.admit(now + SECOND), Admission::Scout);
    let slow = attempt(&outages, now + SECOND, Cause::Offline);
    let later = now + SECOND * 4;
    assert_eq!(outages.failed(&slow, 10, later).offline, Some(now));
    assert_eq!(outages.admit(later), Admission::Scout);
    assert_eq!(outages.arrived(later), Some(News::Back(SECOND * 4)));
    assert_eq!(outages.admit(later), Admission::Free);
}

#[test]
fn a_pause_is_no_time_of_an_outage() {
    let now = Instant::now();
    let (mut outages, _) = begun(now, Cause::Offline);
    outages.begin_anew();
    let later = now + SECOND * 3600;
    assert_eq!(outages.admit(later), Admission::Free);
    let first = attempt(&outages, later, Cause::Offline);
    assert!(!outages.failed(&first, 10, later).in_outage);
    let second = attempt(&outages, later, Cause::Offline);
    let judged = outages.failed(&second, 10, later);
    assert_eq!((judged.offline, judged.news), (Some(later), None));
    let told = outages.arrived(later);
    assert_eq!(told, Some(News::Back(SECOND * 3600)), "it was told once");
}

#[test]
fn an_answer_of_any_kind_says_that_the_network_is_back() {
    let now = Instant::now();
    let (mut outages, _) = begun(now, Cause::Offline);
    let refused = attempt(&outages, now, Cause::Server);
    let later = now + SECOND * 300;
    let judged = outages.failed(&refused, 10, later);
    assert_eq!((judged.offline, judged.failures), (None, 1));
    assert_eq!(judged.news, Some(News::Back(SECOND * 300)));
    assert_eq!(judged.since, later, "the server was not asked before");
    assert_eq!(outages.arrived(later), None);
}

#[test]
fn a_connection_has_two_seconds_to_open_and_now_and_then_as_long_as_usual() {
    let now = Instant::now();
    let limits = |first_byte: Option<u64>| {
        let mut outages = Outages::default();
        if let Some(first_byte) = first_byte {
            outages.answered(Duration::from_millis(first_byte));
        }
        outages.suspect(now, now);
        let limits = (0..8).map(|_| {
            assert_eq!(outages.admit(now), Admission::Scout);
            let limit = outages.open_within();
            outages.scout_ended(outages.round());
            limit
        });
        let limits: Vec<_> = limits.collect();
        outages.arrived(now);
        assert_eq!(outages.open_within(), None);
        limits
    };
    assert_eq!(limits(None), [None; 8], "a server that is only slow");
    let within = |seconds| {
        let mut limits = [Some(SECOND * seconds); 8];
        limits[6] = None;
        limits
    };
    assert_eq!(limits(Some(20)), within(2));
    assert_eq!(limits(Some(1000)), within(10));
}

#[test]
fn a_server_that_never_answered_may_be_none() {
    let now = Instant::now();
    let mut silent = Outages::default();
    silent.suspect(now, now);
    let first = attempt(&silent, now, Cause::NoAnswer);
    assert_eq!(silent.failed(&first, 0, now).offline, None);
    let mut outages = Outages::default();
    outages.arrived(now);
    outages.suspect(now, now + SECOND);
    assert_eq!(outages.admit(now + SECOND), Admission::Scout);
    let scout = attempt(&outages, now + SECOND, Cause::NoAnswer);
    let judged = outages.failed(&scout, 10, now + SECOND * 3);
    assert_eq!(judged.offline, Some(now + SECOND * 3));
}

#[test]
fn silent_transfers_that_fail_later_do_not_end_the_wait_for_the_network() {
    let now = Instant::now();
    let mut outages = Outages::default();
    outages.arrived(now);
    let silent = Failed {
        is_scout: false,
        ..attempt(&outages, now, Cause::Server)
    };
    outages.suspect(now, now + SECOND);
    outages.admit(now + SECOND);
    let scout = attempt(&outages, now + SECOND, Cause::Offline);
    outages.failed(&scout, 10, now + SECOND);
    let judged = outages.failed(&silent, 10, now + SECOND * 15);
    assert_eq!((judged.leads, judged.failures), (false, 0));
    assert_eq!(judged.offline, Some(now + SECOND));
}
