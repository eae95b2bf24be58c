//! What all connections share: the swarms, the table of connections, settings, access lists,
//! metrics and the clock.

use std::hash::RandomState;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;

use crate::access::Access;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::server::addresses::Addresses;
use crate::server::ice::Ice;
use crate::session::Connection;
use crate::swarm::Swarms;

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) swarms: Swarms,
    pub(crate) cluster: Cluster,
    pub(crate) connections: DashMap<u64, Arc<Connection>>,
    pub(crate) addresses: Arc<Addresses>,
    /// Keys the hashes of relayed offers.
    pub(crate) offers: RandomState,
    access: RwLock<Arc<Access>>,
    ice: RwLock<Arc<Ice>>,
    next_connection: AtomicU64,
    draining: AtomicBool,
}

impl Hub {
    pub(crate) fn new(settings: Settings, access: Access, ice: Ice, clock: Clock) -> Self {
        let metrics = Arc::new(Metrics::new());
        metrics
            .connections_limit
            .set(settings.max_connections as i64);
        let cluster = Cluster::new(&settings, &metrics.cluster, clock);
        let dirty = cluster.node().map(|node| node.dirty());
        Self {
            swarms: Swarms::new(Arc::clone(&metrics), settings.max_swarms, dirty),
            cluster,
            addresses: Arc::new(Addresses::new(&settings)),
            settings,
            clock,
            metrics,
            connections: DashMap::new(),
            offers: RandomState::new(),
            access: RwLock::new(Arc::new(access)),
            ice: RwLock::new(Arc::new(ice)),
            next_connection: AtomicU64::new(1),
            draining: AtomicBool::new(false),
        }
    }

    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    pub(crate) fn ice(&self) -> Arc<Ice> {
        Arc::clone(&self.ice.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_ice(&self, ice: Ice) {
        *self.ice.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ice);
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.metrics.connections.get() as usize >= self.settings.max_connections
    }
}
