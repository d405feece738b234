//! Prints the scenarios' outcomes.
use schedsim::scenario::*;
use xsched_agent::policy::DeviceSettings;
use xsched_common::units::Nanos;

fn main() {
    let time = Nanos::from_secs(60);
    for t in [60, 500, 5000] {
        let s = Beside {
            low: Nanos::from_micros(t),
            ..SERVICE
        };
        show(&format!("T={t}us"), s, time);
    }
    let s = Beside {
        syncs: 50,
        think: Nanos::from_micros(50),
        ..SERVICE
    };
    show("syncs50", s, time);
    let us = Nanos::from_micros;
    println!(
        "75/25 {:?}",
        shares(1, time, &[(300, us(60)), (100, us(60))])
    );
    println!(
        "75/25 mixed {:?}",
        shares(1, time, &[(300, us(5000)), (100, us(60))])
    );
    println!(
        "75/25 mixed {:?}",
        shares(1, time, &[(300, us(60)), (100, us(5000))])
    );
    println!(
        "60/30/10 {:?}",
        shares(1, time, &[(60, us(300)), (30, us(60)), (10, us(1000))])
    );
    println!("{:?}", three_tenants(1, time));
    for c in [
        Cast::Alone,
        Cast::Native,
        Cast::Scheduled(DeviceSettings::default()),
        Cast::Scheduled(no_linger()),
    ] {
        println!("{:?}", video(1, time, c));
    }
    for t in [60, 500, 5000] {
        println!(
            "alone {t} {:.4} preempt {}",
            low_alone(1, time, us(t)),
            preempt_over_kt(1, time, us(t))
        );
    }
}

fn show(name: &str, s: Beside, time: Nanos) {
    let a = s.alone(1, time);
    let n = s.native(1, time);
    let o = s.scheduled(1, time, DeviceSettings::default());
    let z = s.scheduled(1, time, no_linger());
    let r = |x: Nanos| x.0 as f64 / a.p99.0 as f64;
    println!(
        "{name}: alone {} native {:.3} ours {:.3} (p50 {}) nolinger {:.3} leftover ours {:.4} nolinger {:.4} native {:.3} req {}",
        a.p99,
        r(n.p99),
        r(o.p99),
        o.p50,
        r(z.p99),
        o.leftover,
        z.leftover,
        n.leftover,
        o.requests
    );
}
