//! Whose processes are looked at when.

use super::*;

/// Beyond every pid, so that nothing is known of them but their user.
const NOBODYS: u32 = 5_000_000;

#[test]
fn one_user_s_long_looks_delay_nobody_else_s() {
    let mut stage = Stage::new();
    let of_user = |stage: &Stage, pid, uid| {
        stage.start(pid, Class::Low, &[6], DEFAULT);
        let mut picture = stage.picture.lock().expect("whole");
        let rows = &mut Arc::make_mut(&mut picture).processes;
        rows.last_mut().expect("started").uid = uid;
    };
    // As long as all looks of a tick may take, and longer.
    let long = LOOKS + Duration::from_millis(10);
    for pid in NOBODYS..NOBODYS + 200 {
        of_user(&stage, pid, 4242);
        stage.fake.long.lock().expect("whole").insert(pid, long);
    }
    stage.tick();
    let newcomers = NOBODYS + 1000;
    for (pid, uid) in (newcomers..).zip(5000..5010) {
        of_user(&stage, pid, uid);
    }
    stage.fake.looked_at.lock().expect("whole").clear();
    for _ in 0..3 {
        stage.tick();
    }
    let looked_at = stage.fake.looked_at.lock().expect("whole").clone();
    for pid in newcomers..newcomers + 10 {
        assert!(looked_at.contains(&pid), "{pid}: {looked_at:?}");
    }
    // And with long ones of their own each has his turn.
    for pid in newcomers..newcomers + 10 {
        stage.fake.long.lock().expect("whole").insert(pid, long);
    }
    stage.now += Duration::from_secs(40);
    stage.fake.looked_at.lock().expect("whole").clear();
    for _ in 0..12 {
        stage.tick();
    }
    let looked_at = stage.fake.looked_at.lock().expect("whole").clone();
    for pid in newcomers..newcomers + 10 {
        assert!(looked_at.contains(&pid), "{pid}: {looked_at:?}");
    }
    let of_one = looked_at.iter().filter(|pid| **pid < newcomers).count();
    assert!((1..=2).contains(&of_one), "{looked_at:?}");
}
