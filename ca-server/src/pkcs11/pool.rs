//! The threads of one token, a session each, before a queue of bounded length. A token that hangs holds its own threads
//! and lets its own queue run full; nobody else waits.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::TokenError;
use super::module::Module;
use super::pin::Login;
use super::seat::Seat;
use crate::config::{Pkcs11Token, TokenName};

/// How long an idle thread waits before it looks after its session.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks at a session that works.
const PROBE_TICKS: u32 = 10;
/// After a failed attempt to open the token, requests fail at once for this long.
const PAUSE: Duration = Duration::from_millis(500);

/// Who wants something of a token comes here.
pub struct TokenPool {
    shared: Arc<Shared>,
}

/// How a token fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was asked of it yet.
    Unused,
    /// It works.
    Works,
    /// It does not: why.
    Fails(TokenError),
}

struct Shared {
    token: Pkcs11Token,
    queue: Mutex<Queue>,
    bell: Condvar,
    login: Arc<Login>,
    state: Mutex<State>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// When each thread took up what it does now.
    busy: Vec<Option<Instant>>,
    closed: bool,
}

struct State {
    standing: Standing,
    /// Requests until then fail with what the standing says.
    until: Option<Instant>,
    /// A fresh session did not help: the module itself may have lost its token.
    suspect: bool,
}

struct Job {
    deadline: Instant,
    work: Box<dyn Work>,
}

/// What a thread does with its session; it may be asked twice, when the first session was stale.
trait Work: Send {
    fn run(&mut self, seat: &mut Seat) -> Result<(), TokenError>;
    fn fail(&mut self, error: TokenError);
}

struct Call<T, F> {
    call: F,
    answer: SyncSender<Result<T, TokenError>>,
}

impl<T: Send, F: Fn(&mut Seat) -> Result<T, TokenError> + Send> Work for Call<T, F> {
    fn run(&mut self, seat: &mut Seat) -> Result<(), TokenError> {
        let value = (self.call)(seat)?;
        self.send(Ok(value));
        Ok(())
    }

    fn fail(&mut self, error: TokenError) {
        self.send(Err(error));
    }
}

impl<T, F> Call<T, F> {
    fn send(&self, answer: Result<T, TokenError>) {
        // Who asked may have given up; then nobody needs the answer.
        let _nobody_waits = self.answer.try_send(answer).is_err();
    }
}

impl fmt::Debug for TokenPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPool({})", self.shown())
    }
}

impl TokenPool {
    pub(super) fn new(token: Pkcs11Token) -> Self {
        Self {
            shared: Arc::new(Shared {
                login: super::login(&token),
                token,
                queue: Mutex::default(),
                bell: Condvar::new(),
                state: Mutex::new(State {
                    standing: Standing::Unused,
                    until: None,
                    suspect: false,
                }),
            }),
        }
    }

    /// The token's name, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.shared.token.token {
            TokenName::Label(label) => format!("the PKCS#11 token `{label}`"),
            TokenName::Slot(slot) => format!("the PKCS#11 token in slot {slot}"),
        }
    }

    /// How the token fares, as far as is known without asking it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        lock(&self.shared.state).standing.clone()
    }

    /// Does something with a session and waits for the answer. `call` may run twice, so it must not matter if it does.
    ///
    /// # Errors
    /// [`TokenError`]; [`TokenError::Busy`] and [`TokenError::Slow`] say that others, or the token, are in the way.
    pub fn ask<T: Send + 'static>(
        &self,
        call: impl Fn(&mut Seat) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let patience = self.shared.token.timeout;
        let slow = || TokenError::Slow {
            secs: patience.as_secs(),
        };
        let (answer, answered) = mpsc::sync_channel(1);
        self.enqueue(Box::new(Call { call, answer }))?;
        answered.recv_timeout(patience).unwrap_or_else(|_| {
            self.shared.fails(&slow());
            Err(slow())
        })
    }

    /// Does something with a session when there is time; nobody waits for it.
    pub fn ask_later(&self, call: impl Fn(&mut Seat) -> Result<(), TokenError> + Send + 'static) {
        let (answer, _) = mpsc::sync_channel(1);
        if let Err(error) = self.enqueue(Box::new(Call { call, answer })) {
            tracing::debug!(%error, "a PKCS#11 token is not asked");
        }
    }

    /// Lets a PIN that was refused be tried once more.
    pub(super) fn forget_refusal(&self) {
        self.shared.login.forget();
        let mut state = lock(&self.shared.state);
        if matches!(state.standing, Standing::Fails(_)) {
            (state.standing, state.until) = (Standing::Unused, None);
        }
    }

    fn enqueue(&self, work: Box<dyn Work>) -> Result<(), TokenError> {
        let token = &self.shared.token;
        let mut queue = lock(&self.shared.queue);
        if queue.busy.is_empty() {
            self.hire(&mut queue)?;
        }
        let hangs = |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() > token.timeout);
        if queue.busy.iter().all(hangs) {
            return Err(TokenError::Slow {
                secs: token.timeout.as_secs(),
            });
        }
        if queue.jobs.len() >= token.queue {
            return Err(TokenError::Busy {
                waiting: queue.jobs.len(),
            });
        }
        queue.jobs.push_back(Job {
            deadline: Instant::now() + token.timeout,
            work,
        });
        drop(queue);
        self.shared.bell.notify_one();
        Ok(())
    }

    fn hire(&self, queue: &mut Queue) -> Result<(), TokenError> {
        for index in 0..self.shared.token.sessions {
            let (shared, counted) = (Arc::clone(&self.shared), Counted::begin());
            std::thread::Builder::new()
                .name(format!("pkcs11-{index}"))
                .spawn(move || {
                    let _counted = counted;
                    shared.serve(index);
                })
                .map_err(|error| TokenError::Away(format!("no thread for a session: {error}")))?;
            queue.busy.push(None);
        }
        Ok(())
    }
}

/// Threads of all pools, dropped ones too, that may still be inside a module.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// How many threads may still be inside a module.
pub(super) fn threads() -> usize {
    THREADS.load(Ordering::SeqCst)
}

/// Counts a thread for as long as it lives, also when it ends by a panic.
struct Counted;

impl Counted {
    fn begin() -> Self {
        THREADS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TokenPool {
    /// Lets the threads end, each with its session, when they have done what waits.
    pub(super) fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.bell.notify_all();
    }
}

impl Drop for TokenPool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The life of one thread.
    fn serve(&self, index: usize) {
        let mut seat = None;
        let mut ticks = 0;
        loop {
            let (job, closed) = self.next(index);
            match job {
                Some(job) if job.deadline > Instant::now() => {
                    self.work_on(job, &mut seat);
                    ticks = 0;
                }
                // Who asked has given up.
                Some(_) => {}
                None if closed => return,
                None => {
                    ticks += 1;
                    self.look_after(index, &mut seat, ticks);
                }
            }
        }
    }

    fn next(&self, index: usize) -> (Option<Job>, bool) {
        let mut queue = lock(&self.queue);
        if let Some(busy) = queue.busy.get_mut(index) {
            *busy = None;
        }
        if queue.jobs.is_empty() && !queue.closed {
            let waited = self.bell.wait_timeout(queue, TICK);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let job = queue.jobs.pop_front();
        if let Some(busy) = queue.busy.get_mut(index) {
            // Without a job too: looking after the session is a call that may hang.
            *busy = Some(Instant::now());
        }
        (job, queue.closed)
    }

    fn work_on(&self, mut job: Job, seat: &mut Option<Seat>) {
        // A module or a wrapper that panics costs its session, not the thread.
        let attempt = panic::catch_unwind(AssertUnwindSafe(|| self.attempt(&mut job, seat)));
        let outcome = attempt.unwrap_or_else(|_| {
            *seat = None;
            Err(TokenError::Failed("what was asked of it crashed".to_owned()))
        });
        if let Err(error) = outcome {
            job.work.fail(error);
        }
    }

    fn attempt(&self, job: &mut Job, place: &mut Option<Seat>) -> Result<(), TokenError> {
        let was_fresh = self.sit(place)?;
        let first = run(job, place);
        let Err(error) = first else {
            self.works();
            return Ok(());
        };
        if !error.loses_session() {
            // It answered; what it answered is whoever asked's matter.
            self.works();
            return Err(error);
        }
        self.lost(place, &error, was_fresh);
        if was_fresh {
            return Err(error);
        }
        // The session was an old one: the token may have been pulled and be back.
        self.sit(place)?;
        let second = run(job, place);
        match &second {
            Err(error) if error.loses_session() => self.lost(place, error, true),
            _ => self.works(),
        }
        second
    }

    /// Sees to it that there is a session; `true` if it was opened now.
    fn sit(&self, place: &mut Option<Seat>) -> Result<bool, TokenError> {
        if place.as_ref().is_some_and(|seat| seat.epoch == self.login.epoch()) {
            return Ok(false);
        }
        *place = None;
        let _opening = lock(&self.login.opening);
        {
            let state = lock(&self.state);
            if let (Standing::Fails(error), Some(until)) = (&state.standing, state.until)
                && Instant::now() < until
            {
                return Err(error.clone());
            }
        }
        let opened = self.open();
        match opened {
            Ok(seat) => {
                *place = Some(seat);
                Ok(true)
            }
            Err(error) => {
                self.fails(&error);
                Err(error)
            }
        }
    }

    fn open(&self) -> Result<Seat, TokenError> {
        let suspect = lock(&self.state).suspect;
        if suspect {
            Module::at(&self.token.module)?.renew();
        }
        let opened = Seat::open(&self.token, &self.login, self.login.epoch());
        match opened {
            Err(TokenError::Away(_)) if !suspect => {
                // Some modules find a token that came back only when they are initialised anew.
                Module::at(&self.token.module)?.renew();
                Seat::open(&self.token, &self.login, self.login.epoch())
            }
            other => other,
        }
    }

    /// Drops a session that is none any more, and tells the other threads.
    fn lost(&self, place: &mut Option<Seat>, error: &TokenError, was_fresh: bool) {
        if let Some(seat) = place.take() {
            self.login.lost(seat.epoch);
        }
        self.bell.notify_all();
        if was_fresh {
            lock(&self.state).suspect = true;
            self.fails(error);
        }
    }

    fn works(&self) {
        let mut state = lock(&self.state);
        if state.standing != Standing::Works {
            tracing::info!(token = ?self.token.token, "a PKCS#11 token works");
        }
        (state.standing, state.until, state.suspect) = (Standing::Works, None, false);
    }

    fn fails(&self, error: &TokenError) {
        let mut state = lock(&self.state);
        let standing = Standing::Fails(error.clone());
        if state.standing != standing {
            tracing::error!(token = ?self.token.token, %error, "a PKCS#11 token does not work");
        }
        (state.standing, state.until) = (standing, Some(Instant::now() + PAUSE));
    }

    /// What an idle thread does: sessions of a lost token are let go, a token that fails is tried, one that works is asked
    /// whether it is still there.
    fn look_after(&self, index: usize, place: &mut Option<Seat>, ticks: u32) {
        let epoch = self.login.epoch();
        if place.as_ref().is_some_and(|seat| seat.epoch != epoch) {
            *place = None;
        }
        if let Some(seat) = place {
            if ticks.is_multiple_of(PROBE_TICKS)
                && let Err(error) = seat.probe()
            {
                self.lost(place, &error, false);
            }
            return;
        }
        let standing = lock(&self.state).standing.clone();
        let away = matches!(standing, Standing::Fails(TokenError::Away(_)));
        if index == 0 && away && self.sit(place).is_ok() {
            // Whether keys can be used is seen at the next request.
            let mut state = lock(&self.state);
            if !state.suspect {
                (state.standing, state.until) = (Standing::Works, None);
            }
        }
    }
}

fn run(job: &mut Job, place: &mut Option<Seat>) -> Result<(), TokenError> {
    match place {
        Some(seat) => job.work.run(seat),
        None => Err(TokenError::Away("no session".to_owned())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
