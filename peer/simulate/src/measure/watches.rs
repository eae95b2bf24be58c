//! Watches: how long the graph takes to get into a state that a step waits for.

use super::Measures;
use crate::time::{Time, to_seconds};

/// A state of the graph, or the state that is waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    /// All living peers are in one component.
    pub(crate) whole: bool,
    /// The part of the living peers in the largest component.
    pub(crate) share: f64,
    pub(crate) mean_degree: f64,
    /// Links between the sides of a partition.
    pub(crate) bridges: usize,
}

impl Goal {
    fn is_met_by(&self, graph: &Self) -> bool {
        (!self.whole || graph.whole)
            && graph.bridges >= self.bridges
            && graph.share >= self.share
            && graph.mean_degree >= self.mean_degree
    }
}

#[derive(Debug)]
struct Watch {
    step: u32,
    since: Time,
    goal: Goal,
    reached: Option<Time>,
}

/// All watches of a run.
#[derive(Debug, Default)]
pub(crate) struct Watches(Vec<Watch>);

impl Watches {
    pub(crate) fn begin(&mut self, step: u32, since: Time, goal: Goal) {
        let reached = None;
        self.0.push(Watch {
            step,
            since,
            goal,
            reached,
        });
    }

    /// Whether any goal is still to be reached.
    pub(crate) fn are_pending(&self) -> bool {
        self.0.iter().any(|watch| watch.reached.is_none())
    }

    /// The graph is in this state now.
    pub(crate) fn look(&mut self, now: Time, graph: &Goal) {
        for watch in &mut self.0 {
            if watch.reached.is_none() && watch.goal.is_met_by(graph) {
                watch.reached = Some(now);
            }
        }
    }

    pub(crate) fn measure(&self, step: u32, label: &str, all: &mut Measures) {
        let watch = self.0.iter().find(|watch| watch.step == step);
        if let Some(watch) = watch
            && let Some(reached) = watch.reached
        {
            all.add(label, "s", to_seconds(reached - watch.since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    const GRAPH: Goal = Goal {
        whole: true,
        share: 1.0,
        mean_degree: 5.0,
        bridges: 0,
    };

    #[test]
    fn a_watch_takes_the_first_time_at_which_its_goal_is_met() {
        let mut watches = Watches::default();
        watches.begin(1, SECOND, GRAPH);
        let split = Goal {
            whole: false,
            share: 0.5,
            ..GRAPH
        };
        watches.look(2 * SECOND, &split);
        assert!(watches.are_pending());
        watches.look(3 * SECOND, &GRAPH);
        assert!(!watches.are_pending());
        watches.look(4 * SECOND, &GRAPH);
        let mut all = Measures::default();
        watches.measure(1, "whole", &mut all);
        watches.measure(2, "other", &mut all);
        let values: Vec<_> = all.into_values().into_iter().collect();
        assert_eq!(values, [("whole.s".to_owned(), 2.0)]);
    }
}
