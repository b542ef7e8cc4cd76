//! Runs tasks in every possible order of their steps. For tests.
//!
//! Code calls [`point`] before it accesses shared state. A task is a coroutine, which is suspended there. [`explore`] then
//! continues with each task that can run, in a separate run for each choice. All tasks run on one thread, so that a run takes
//! some microseconds and can be repeated. The order in which memory becomes visible to other processors is not explored,
//! because shared state is protected by locks.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use generator::{Generator, Gn};

/// The maximum number of steps of a run. A run with more steps is assumed to be endless.
const MAX_STEPS: usize = 10_000;

/// The maximum number of runs of an exploration. More would take too long for a test.
const MAX_RUNS: usize = 20_000;

/// The size of a coroutine's stack, in words. Pages that are not touched cost nothing.
const STACK_WORDS: usize = 64 * 1024;

thread_local! {
    /// A task runs, and is suspended at its next point.
    static IS_STEPPING: Cell<bool> = const { Cell::new(false) };
    /// The event that the task which has just been suspended waits for.
    static WAITS_FOR: RefCell<Option<Arc<Signal>>> = const { RefCell::new(None) };
    /// The panic of a task.
    static PANIC: RefCell<Option<Box<dyn Any + Send>>> = const { RefCell::new(None) };
}

/// Ends a step: other tasks may run here. Does nothing outside of [`explore`]. No lock may be held.
pub(crate) fn point() {
    if IS_STEPPING.get() && !std::thread::panicking() {
        #[expect(deprecated, reason = "its successor cannot be reached from below the functions that are tested")]
        generator::yield_with(());
    }
}

/// Polls a future to its end, as a runtime does. Returns `None` if it is never woken.
pub(crate) fn run<F: Future>(future: F) -> Option<F::Output> {
    Signal::new().run(future)
}

/// What wakes a future.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_set: AtomicBool,
    wakes: AtomicUsize,
    polls: AtomicUsize,
}

impl Signal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns how many times the future has been woken.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::Relaxed)
    }

    /// Returns how many times the future has been polled.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    /// Like [`run`], for a future that is woken by this signal.
    pub(crate) fn run<F: Future>(self: &Arc<Self>, future: F) -> Option<F::Output> {
        let waker = Waker::from(self.clone());
        let mut future = pin!(future);
        loop {
            self.polls.fetch_add(1, Ordering::Relaxed);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(output);
            }
            WAITS_FOR.set(Some(self.clone()));
            point();
            WAITS_FOR.take();
            if !self.is_set.swap(false, Ordering::Relaxed) {
                return None;
            }
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        point();
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.is_set.store(true, Ordering::Relaxed);
    }
}

/// The tasks of a run.
#[derive(Default)]
pub(crate) struct Tasks {
    tasks: Vec<Task>,
    /// Coroutines of previous runs, for reuse.
    idle: Vec<Coroutine>,
}

type Coroutine = Generator<'static, (), ()>;

struct Task {
    coroutine: Coroutine,
    waits_for: Option<Arc<Signal>>,
}

impl Tasks {
    pub(crate) fn add(&mut self, task: impl FnOnce() + Send + 'static) {
        let task = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(task)) {
                PANIC.set(Some(panic));
            }
        };
        let coroutine = match self.idle.pop() {
            None => Gn::new_opt(STACK_WORDS, task),
            Some(mut coroutine) => {
                coroutine.init_code(task);
                coroutine
            }
        };
        self.tasks.push(Task { coroutine, waits_for: None });
    }

    /// Runs the tasks until each has ended or waits for a signal.
    fn run_to_rest(&mut self, path: &mut Path, preemptions: usize) -> Result<(), Box<dyn Any + Send>> {
        let (mut current, mut left) = (None, preemptions);
        for _ in 0..MAX_STEPS {
            let mut runnable: Vec<usize> = (0..self.tasks.len()).filter(|index| self.tasks[*index].can_run()).collect();
            if runnable.is_empty() {
                return Ok(());
            }
            let continues = current.and_then(|current| runnable.iter().position(|index| *index == current));
            if let Some(place) = continues {
                runnable.swap(0, place);
                runnable.truncate(if left == 0 { 1 } else { runnable.len() });
            }
            let choice = path.choose(runnable.len());
            left -= usize::from(continues.is_some() && choice > 0);
            current = Some(runnable[choice]);
            self.tasks[runnable[choice]].step();
            if let Some(panic) = PANIC.take() {
                return Err(panic);
            }
        }
        panic!("the tasks do not come to rest");
    }

    /// Lets each task return, even if it has not completed.
    fn end(&mut self) {
        for mut task in self.tasks.drain(..) {
            if !task.coroutine.is_done() {
                task.coroutine.resume();
            }
            self.idle.push(task.coroutine);
        }
        PANIC.take();
    }
}

impl Task {
    fn can_run(&self) -> bool {
        let is_woken = self.waits_for.as_ref().is_none_or(|signal| signal.is_set.load(Ordering::Relaxed));
        is_woken && !self.coroutine.is_done()
    }

    fn step(&mut self) {
        IS_STEPPING.set(true);
        self.coroutine.resume();
        IS_STEPPING.set(false);
        self.waits_for = WAITS_FOR.take();
    }
}

/// The choices of a run: the task that continues, and the number of tasks that could.
#[derive(Default)]
struct Path {
    choices: Vec<(usize, usize)>,
    next: usize,
}

impl Path {
    fn choose(&mut self, of: usize) -> usize {
        if self.next == self.choices.len() {
            self.choices.push((0, of));
        }
        let (choice, known) = self.choices[self.next];
        assert_eq!(known, of, "the same choices lead to another run");
        self.next += 1;
        choice
    }

    /// Goes to the next path. Returns `false` after the last one.
    fn advance(&mut self) -> bool {
        self.next = 0;
        while let Some((choice, of)) = self.choices.last_mut() {
            *choice += 1;
            if choice < of {
                return true;
            }
            self.choices.pop();
        }
        false
    }
}

/// Runs the tasks that `begin` adds, in every order with at most `preemptions` switches away from a task that could continue.
/// When no task can run, calls the check that `begin` has returned. Returns the number of runs.
pub(crate) fn explore<C: FnOnce()>(preemptions: usize, mut begin: impl FnMut(&mut Tasks) -> C) -> usize {
    let (mut path, mut tasks) = (Path::default(), Tasks::default());
    for run in 1..=MAX_RUNS {
        let check = begin(&mut tasks);
        let result = catch_unwind(AssertUnwindSafe(|| tasks.run_to_rest(&mut path, preemptions).map(|()| check())));
        tasks.end();
        if let Err(panic) | Ok(Err(panic)) = result {
            eprintln!("run {run} failed");
            resume_unwind(panic);
        }
        if !path.advance() {
            return run;
        }
    }
    panic!("the exploration takes more than {MAX_RUNS} runs");
}

#[cfg(test)]
mod tests {
    use crate::util::Mutex;

    use super::*;

    /// Two tasks of two steps each.
    fn orders(preemptions: usize) -> (usize, Vec<String>) {
        let orders = Arc::new(Mutex::new(Vec::new()));
        let runs = explore(preemptions, |tasks| {
            let order = Arc::new(Mutex::new(String::new()));
            for name in ['a', 'b'] {
                let order = order.clone();
                tasks.add(move || {
                    order.lock().push(name);
                    point();
                    order.lock().push(name);
                });
            }
            let orders = orders.clone();
            move || orders.lock().push(order.lock().clone())
        });
        let mut orders = std::mem::take(&mut *orders.lock());
        orders.sort();
        (runs, orders)
    }

    #[test]
    fn each_order_is_run_once() {
        assert_eq!(orders(9), (6, ["aabb", "abab", "abba", "baab", "baba", "bbaa"].map(str::to_owned).into()));
        assert_eq!(orders(0), (2, ["aabb", "bbaa"].map(str::to_owned).into()));
    }

    #[test]
    #[should_panic(expected = "it sleeps for ever")]
    fn a_wake_up_that_is_lost_is_found() {
        explore(9, |tasks| {
            let (flag, waker) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Waker>)));
            let has_ended = Arc::new(AtomicBool::new(false));
            let (setting, waking) = (flag.clone(), waker.clone());
            tasks.add(move || {
                setting.store(true, Ordering::Relaxed);
                point();
                let waker = waking.lock().take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
            let ends = has_ended.clone();
            tasks.add(move || {
                // It reads the flag before it registers its waker.
                let waits = std::future::poll_fn(|cx| {
                    if flag.load(Ordering::Relaxed) {
                        return Poll::Ready(());
                    }
                    point();
                    *waker.lock() = Some(cx.waker().clone());
                    Poll::Pending
                });
                ends.store(run(waits).is_some(), Ordering::Relaxed);
            });
            move || assert!(has_ended.load(Ordering::Relaxed), "it sleeps for ever")
        });
    }
}
