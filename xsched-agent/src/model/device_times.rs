//! Devices' time, shared out among the clients that claim it.
//!
//! A client counts the time from one completion of its own to the next. Where
//! others work on the device as well, part of that was theirs, and they count it
//! too. But a device has no more time than passes: what is claimed of it between
//! two looks beyond that is taken off its clients in proportion.
//!
//! A kernel of several seconds is told of at its end. So what does not fit may
//! reach back to time that nobody has claimed since the client's last claim. Beside
//! others that claim all there is, such a kernel is charged for its last interval
//! alone.
//!
//! Claims come from pages that their clients write. Of the time between two looks
//! those of one user count for no more than has passed: who claims too much takes
//! at most half of what another user claims of that time, N users together at most
//! N of N + 1 parts, and are charged with it. They take all that is left unclaimed,
//! too.

use std::collections::{BTreeMap, HashMap, VecDeque};

use xsched_common::page::MAX_DEVICES;
use xsched_common::units::{DeviceIndex, Nanos};
use xsched_policy::ClientId;

use crate::control::{ClientShared, DeviceKey};

/// Looks back to which a claim may reach: half a minute.
const LOOKS: usize = 64;

/// Devices with an account of their own. A client may name any; more share one.
const MOST: usize = 256;

/// Those that one user's claims open: more than a machine's GPUs have parts (8 of
/// 7 each), and who makes devices up leaves others theirs.
const MOST_OF_USER: usize = MOST / 4;

/// The account that they share: no client has so many devices.
const OTHERS: DeviceKey = DeviceKey::Unnamed(DeviceIndex(u8::MAX));

/// Device time that one client claims, and then what it is charged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    client: ClientId,
    /// The user whose time it is.
    payer: u32,
    device: DeviceKey,
    /// The client's own number for the device.
    pub index: DeviceIndex,
    pub time: Nanos,
}

impl Claim {
    /// What is new on a client's page, by its own device index.
    pub fn of(
        client: &ClientShared,
        busy_ns: [u64; MAX_DEVICES],
    ) -> impl Iterator<Item = Claim> + '_ {
        let page = &client.status;
        let devices = page.devices().map(|(index, _)| index);
        let times = devices.zip(busy_ns.map(Nanos));
        let new = times.filter(|(_, time)| *time != Nanos::ZERO);
        new.map(|(index, time)| Claim {
            client: client.id,
            payer: client.payer,
            device: DeviceKey::told_apart(index, page),
            index,
            time,
        })
    }
}

/// The accounts of all devices.
pub(super) struct DeviceTimes {
    looked: Nanos,
    looks: u64,
    /// How long it was between looks, the newest last.
    passed: VecDeque<Nanos>,
    accounts: HashMap<DeviceKey, Account>,
}

/// What is known of one device.
struct Account {
    /// The user whose claim opened it; of that of [`OTHERS`] nobody.
    opened_by: Option<u32>,
    /// Of each time between looks, what nobody has claimed.
    left: VecDeque<Nanos>,
    /// At which look a client last claimed any.
    claimed: HashMap<ClientId, u64>,
}

impl DeviceTimes {
    /// Of an agent that begins now.
    pub fn new(now: Nanos) -> DeviceTimes {
        DeviceTimes {
            looked: now,
            looks: 0,
            passed: VecDeque::new(),
            accounts: HashMap::new(),
        }
    }

    /// Shares out the time since the last look: sets what each claim is charged.
    pub fn share<'c>(&mut self, now: Nanos, claims: impl Iterator<Item = &'c mut Claim>) {
        let passed = now.since(self.looked);
        (self.looked, self.looks) = (now, self.looks + 1);
        push(&mut self.passed, passed);
        for account in self.accounts.values_mut() {
            push(&mut account.left, passed);
        }
        let mut by_device: BTreeMap<DeviceKey, Vec<&mut Claim>> = BTreeMap::new();
        for claim in claims {
            by_device.entry(claim.device).or_default().push(claim);
        }
        let mut opened: HashMap<u32, usize> = HashMap::new();
        for payer in self.accounts.values().filter_map(|known| known.opened_by) {
            *opened.entry(payer).or_default() += 1;
        }
        let mut others: Vec<&mut Claim> = Vec::new();
        for (device, mut claims) in by_device {
            if !self.accounts.contains_key(&device) {
                let mut payers = claims.iter().map(|claim| claim.payer);
                let may = |payer: &u32| opened.get(payer).is_none_or(|n| *n < MOST_OF_USER);
                let Some(payer) = payers.find(may).filter(|_| self.accounts.len() < MOST) else {
                    others.append(&mut claims);
                    continue;
                };
                *opened.entry(payer).or_default() += 1;
                let account = Account::opened(Some(payer), &self.passed);
                self.accounts.insert(device, account);
            }
            if let Some(account) = self.accounts.get_mut(&device) {
                account.share(self.looks, &mut claims);
            }
        }
        if !others.is_empty() {
            // Once for all: each device's claims would take what is left.
            let account = self.accounts.entry(OTHERS);
            let account = account.or_insert_with(|| Account::opened(None, &self.passed));
            account.share(self.looks, &mut others);
        }
        let oldest = self.looks.saturating_sub(LOOKS as u64);
        self.accounts.retain(|_, account| {
            account.claimed.retain(|_, look| *look > oldest);
            !account.claimed.is_empty()
        });
    }
}

fn push(times: &mut VecDeque<Nanos>, new: Nanos) {
    if times.len() == LOOKS {
        times.pop_front();
    }
    times.push_back(new);
}

impl Account {
    fn opened(opened_by: Option<u32>, passed: &VecDeque<Nanos>) -> Account {
        Account {
            opened_by,
            left: passed.clone(),
            claimed: HashMap::new(),
        }
    }

    fn share(&mut self, look: u64, claims: &mut [&mut Claim]) {
        let Some(newest) = self.left.back_mut() else {
            return;
        };
        let passed = *newest;
        let mut of_payers: HashMap<u32, Nanos> = HashMap::new();
        for claim in claims.iter() {
            let sum = of_payers.entry(claim.payer).or_default();
            *sum = *sum + claim.time.min(passed);
        }
        let of_claim = |claim: &Claim| {
            let claimed = claim.time.min(passed);
            fitted(claimed, of_payers[&claim.payer], passed)
        };
        let all = claims.iter().map(|claim| of_claim(claim));
        let all = all.fold(Nanos::ZERO, |sum, claim| sum + claim);
        let mut shared: Vec<(usize, &mut Claim, Nanos)> = Vec::with_capacity(claims.len());
        for claim in claims {
            let before = self.claimed.insert(claim.client, look);
            // What it tells of now may have begun before what it told of last.
            let reach = before.map_or(LOOKS, |before| (look - before) as usize + 1);
            let charged = fitted(of_claim(claim), all, passed);
            *newest = newest.since(charged);
            shared.push((reach, &mut **claim, charged));
        }
        // Who reaches back least has the least to choose from.
        shared.sort_by_key(|(reach, ..)| *reach);
        for (reach, claim, mut charged) in shared {
            let mut rest = claim.time.since(charged);
            // The oldest first: what is left then is where this client's next claim
            // reaches.
            let newest = self.left.len() - 1;
            let oldest = newest.saturating_sub(reach);
            for left in self.left.range_mut(oldest..newest) {
                let taken = rest.min(*left);
                *left = left.since(taken);
                rest = rest.since(taken);
                charged = charged + taken;
            }
            claim.time = charged;
        }
    }
}

/// A part of a sum, where no more than `most` of the sum counts.
fn fitted(part: Nanos, sum: Nanos, most: Nanos) -> Nanos {
    match sum <= most {
        true => part,
        false => Nanos((u128::from(part.0) * u128::from(most.0) / u128::from(sum.0)) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Nanos = Nanos::from_millis(500);

    fn ms(ms: u64) -> Nanos {
        Nanos::from_millis(ms)
    }

    fn device() -> DeviceKey {
        DeviceKey::Unnamed(DeviceIndex(0))
    }

    /// Devices at which a look has the same length, and clients that are users by
    /// tens.
    struct Stage {
        times: DeviceTimes,
        now: Nanos,
    }

    impl Stage {
        fn new() -> Stage {
            let now = Nanos::from_secs(100);
            let mut stage = Stage {
                times: DeviceTimes::new(now),
                now,
            };
            // The agent has been there for a while.
            for _ in 0..10 {
                stage.look(&[]);
            }
            stage
        }

        fn look(&mut self, claims: &[(u64, Nanos)]) -> Vec<Nanos> {
            self.now = self.now + LOOK;
            let new = claims.iter().filter(|(_, time)| *time != Nanos::ZERO);
            let claims = new.map(|(client, time)| Claim {
                client: ClientId(*client),
                payer: *client as u32 / 10,
                device: device(),
                index: DeviceIndex(0),
                time: *time,
            });
            let mut claims: Vec<Claim> = claims.collect();
            self.times.share(self.now, claims.iter_mut());
            claims.iter().map(|claim| claim.time).collect()
        }

        /// The sums of what is charged over many looks.
        fn looks(&mut self, claims: &[(u64, Nanos)], looks: u32) -> Vec<Nanos> {
            let mut sums = vec![Nanos::ZERO; claims.len()];
            for _ in 0..looks {
                for (sum, more) in sums.iter_mut().zip(self.look(claims)) {
                    *sum = *sum + more;
                }
            }
            sums
        }
    }

    #[test]
    fn two_that_fill_a_device_are_charged_what_it_has() {
        let mut stage = Stage::new();
        // A service alone uses a third; beside a batch both count some of the
        // other's.
        stage.looks(&[(1, ms(170))], 20);
        let charged = stage.looks(&[(1, ms(176)), (2, ms(352))], 40);
        let sum = charged[0] + charged[1];
        assert!(sum <= ms(20_000) + ms(100), "{charged:?}");
        assert!(sum >= ms(20_000), "{charged:?}");
        let share = charged[0].0 as f64 / sum.0 as f64;
        assert!((0.32..0.345).contains(&share), "in proportion: {share}");
    }

    #[test]
    fn what_fits_is_charged_as_claimed() {
        let mut stage = Stage::new();
        let charged = stage.looks(&[(1, ms(200)), (12, ms(290))], 30);
        assert_eq!(charged, [ms(6_000), ms(8_700)]);
    }

    /// Completions are seen in another interval than the work was done.
    #[test]
    fn one_alone_loses_nothing_at_the_edges_of_intervals() {
        for kernel in [3, 30, 200, 1_700, 9_000] {
            let mut stage = Stage::new();
            let (mut done, mut sum) = (Nanos::ZERO, Nanos::ZERO);
            for look in 1..=400u64 {
                let until = Nanos(LOOK.times(look).0 / ms(kernel).0 * ms(kernel).0);
                for charged in stage.look(&[(1, until.since(done))]) {
                    sum = sum + charged;
                }
                done = until;
            }
            let lost = 1.0 - sum.0 as f64 / done.0 as f64;
            assert!((0.0..0.01).contains(&lost), "{kernel} ms: {lost}");
        }
    }

    /// Beside one that works a little all the time.
    #[test]
    fn a_long_kernel_is_charged_for_the_time_that_others_left() {
        let mut stage = Stage::new();
        stage.looks(&[(1, ms(100))], 10);
        let charged = stage.look(&[(1, ms(100)), (12, ms(4_000))]);
        assert_eq!(charged[0], ms(100));
        assert!((ms(3_900)..=ms(4_000)).contains(&charged[1]), "{charged:?}");
        let charged = stage.look(&[(1, ms(100)), (12, ms(4_000))]);
        assert!(charged[1] <= ms(900), "nobody left more: {charged:?}");
    }

    #[test]
    fn liars_take_half_at_most_and_are_charged_with_it() {
        let mut stage = Stage::new();
        let honest = (1, ms(300));
        stage.looks(&[honest], 10);
        let lies = (20..30).map(|client| (client, Nanos(u64::MAX)));
        let claims: Vec<(u64, Nanos)> = [honest].into_iter().chain(lies).collect();
        // The first lies take what nobody has used before.
        stage.look(&claims);
        let charged = stage.looks(&claims, 20);
        assert!(charged[0] >= ms(150 * 20), "{charged:?}");
        let sum = charged.iter().fold(Nanos::ZERO, |sum, more| sum + *more);
        assert!(sum <= LOOK.times(21), "{charged:?}");
    }

    /// What a client of this user claims on a device with an address.
    fn claim(payer: u32, device: u32, time: Nanos) -> Claim {
        Claim {
            client: ClientId(u64::from(payer)),
            payer,
            device: DeviceKey::Pci(xsched_common::units::PciAddress {
                domain: device,
                ..Default::default()
            }),
            index: DeviceIndex(0),
            time,
        }
    }

    #[test]
    fn devices_without_end_share_an_account() {
        let mut times = DeviceTimes::new(Nanos::ZERO);
        let now = Nanos::from_secs(1);
        let mut claims: Vec<Claim> = (0..1_000).map(|n| claim(n, n, ms(700))).collect();
        times.share(now, claims.iter_mut());
        assert_eq!(times.accounts.len(), MOST + 1);
        assert_eq!(claims[0].time, ms(700), "its own device");
        let others: Vec<Nanos> = claims[MOST..].iter().map(|claim| claim.time).collect();
        assert!(others.iter().all(|time| *time > Nanos::ZERO), "all alike");
        let sum = others.iter().fold(Nanos::ZERO, |sum, more| sum + *more);
        assert!(sum <= now, "{sum:?}");
        for look in 2..LOOKS as u64 + 3 {
            times.share(Nanos::from_secs(look), std::iter::empty());
        }
        assert!(times.accounts.is_empty(), "nobody claims there any more");
    }

    #[test]
    fn who_names_many_devices_leaves_others_theirs() {
        let mut times = DeviceTimes::new(Nanos::ZERO);
        let mut many: Vec<Claim> = (0..1_000).map(|n| claim(1, n, Nanos(1))).collect();
        times.share(Nanos::from_secs(1), many.iter_mut());
        // On devices of its own, and on one that the other has named, too.
        for device in [999, 5_000, 5_001] {
            let now = times.looked + Nanos::from_secs(1);
            let named = claim(1, device, Nanos(u64::MAX));
            let mut claims = [named, claim(2, device, ms(700))];
            times.share(now, claims.iter_mut().skip(usize::from(device != 999)));
            assert!(claims[1].time >= ms(300), "{device}: {claims:?}");
            assert!(times.accounts.contains_key(&claims[1].device), "{device}");
        }
    }
}
