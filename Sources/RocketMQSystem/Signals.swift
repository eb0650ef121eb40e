import Glibc
import RocketMQBase
import Synchronization

/// Ending a program from outside: SIGTERM, SIGINT (Ctrl-C) and SIGHUP (the terminal is gone) ask it to stop in good order.
public enum Signals {
    /// Takes these signals away from their default action. Call it first of all in `main`: threads inherit what is blocked,
    /// and one that was started before would still be killed.
    ///
    /// A signal that is ignored already stays so: `nohup` and background jobs of a shell count on it.
    public static func prepare() {
        // A peer or a reader of our output that goes away is an error of that write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        // A write beyond the limit of file sizes (ulimit -f) fails, and says so.
        signal(SIGXFSZ, SIG_IGN)
        var set = terminationSet()
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits, on the thread that called `prepare`, until the program is asked to end; returns the signal's name. From then on
    /// a further signal, a second later or more, ends it at once.
    public static func waitForTermination() -> String {
        var set = terminationSet()
        var signal: Int32 = 0
        while sigwait(&set, &signal) != 0 {}
        endOnFurtherSignal()
        return name(signal)
    }

    /// The signal that asks the program to end and has not been taken by `waitForTermination` yet. On any thread that was
    /// started after `prepare`.
    public static var pendingTermination: String? {
        var set = sigset_t()
        guard sigpending(&set) == 0 else { return nil }
        return [SIGTERM, SIGINT, SIGHUP].first { sigismember(&set, $0) == 1 }.map(name)
    }

    private static func name(_ signal: Int32) -> String {
        switch signal {
        case SIGTERM: "SIGTERM"
        case SIGINT: "SIGINT"
        case SIGHUP: "SIGHUP"
        default: "signal \(signal)"
        }
    }

    /// A further signal ends the program at once, but for those that come with the first: some senders reach a process and
    /// its group, and would turn a clean stop into a crash.
    private static func endOnFurtherSignal() {
        let first = LinuxClock().monotonicNow
        PlatformThread.start(name: "signals") {
            var set = terminationSet()
            var signal: Int32 = 0
            while sigwait(&set, &signal) != 0 || LinuxClock().monotonicNow - first < .seconds(1) {}
            Console.complain("ended at once by a further signal")
            _exit(128 + signal)
        }
    }

    private static func terminationSet() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP] where !isIgnored(signal) { sigaddset(&set, signal) }
        return set
    }

    private static func isIgnored(_ signal: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(signal, nil, &action) == 0 else { return false }
        // SIG_IGN is the address 1, which the imported enumeration of handlers cannot be compared with.
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self) == 1
    }
}
