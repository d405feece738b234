//! Threads that somebody holds up.

use std::sync::Weak;

use super::Tenant;

/// How many threads may be taken at once. Root and the agent's own user have
/// their share however many others have taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Those of one tenant.
    pub of_tenant: usize,
    /// Those of all tenants in one control group.
    pub of_cgroup: usize,
    /// Those of all tenants.
    pub of_all: usize,
}

impl Limits {
    /// Whether none is left for `new`, beside those of `taken`.
    pub(super) fn is_full<'t>(
        &self,
        taken: impl Iterator<Item = &'t Tenant> + Clone,
        new: &Tenant,
    ) -> bool {
        let of_others = taken.clone().filter(|tenant| !tenant.is_ours()).count();
        let of_cgroup = taken.filter(|tenant| tenant.cgroup == new.cgroup).count();
        !new.is_ours() && (of_others >= self.of_all || of_cgroup >= self.of_cgroup)
    }
}

/// Threads that were given up and have not come back.
#[derive(Debug)]
pub struct Held {
    limits: Limits,
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    /// Who holds it up.
    pid: u32,
    tenant: Tenant,
    /// Gone once it has come back.
    life: Weak<()>,
}

impl Held {
    /// None.
    pub const fn within(limits: Limits) -> Held {
        Held {
            limits,
            threads: Vec::new(),
        }
    }

    /// Process `pid` holds one up: it is given up until `life` is gone.
    pub fn add(&mut self, pid: u32, tenant: Tenant, life: Weak<()>) {
        self.threads.push(Thread { pid, tenant, life });
    }

    /// Forgets those that have come back, and says whether that were all.
    pub fn is_empty(&mut self) -> bool {
        self.threads.retain(|thread| thread.life.strong_count() > 0);
        self.threads.is_empty()
    }

    /// Whether process `pid` holds one up.
    pub fn holds(&self, pid: u32) -> bool {
        self.threads.iter().any(|thread| thread.pid == pid)
    }

    /// Whether this tenant holds up as many as it may.
    pub fn is_over_share(&self, tenant: &Tenant) -> bool {
        let threads = self.threads.iter();
        let own = threads.filter(|thread| thread.tenant.is_same(tenant));
        own.count() >= self.limits.of_tenant
    }

    /// Whether others hold up so many that none is left for this tenant.
    pub fn is_full(&self, tenant: &Tenant) -> bool {
        let tenants = self.threads.iter().map(|thread| &thread.tenant);
        self.limits.is_full(tenants, tenant)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMITS: Limits = Limits {
        of_tenant: 2,
        of_cgroup: 4,
        of_all: 8,
    };

    fn tenant(uid: u32, cgroup: &str) -> Tenant {
        Tenant {
            uid,
            cgroup: cgroup.into(),
        }
    }

    #[test]
    fn threads_that_are_held_up_are_bounded() {
        let life = Arc::new(());
        let mut held = Held::within(LIMITS);
        let mut add = |pid, tenant| held.add(pid, tenant, Arc::downgrade(&life));
        // Who logged in is one tenant in whatever control group.
        add(1, tenant(70_000, "/a"));
        add(2, tenant(70_000, "/b"));
        assert!(held.holds(1) && !held.holds(3));
        assert!(held.is_over_share(&tenant(70_000, "/c")));
        assert!(!held.is_over_share(&tenant(70_001, "/a")));
        for n in 0..3 {
            held.add(10 + n, tenant(80_000 + n, "/a"), Arc::downgrade(&life));
        }
        assert!(held.is_full(&tenant(90_000, "/a")), "its control group");
        assert!(!held.is_full(&tenant(90_000, "/b")));
        for n in 0..3 {
            held.add(20 + n, tenant(85_000 + n, "/d"), Arc::downgrade(&life));
        }
        assert!(held.is_full(&tenant(90_000, "/b")), "all in all");
        assert!(!held.is_full(&tenant(0, "/b")), "places are kept for ours");
        assert!(!held.is_empty());
        drop(life);
        assert!(held.is_empty() && !held.holds(1));
    }
}
