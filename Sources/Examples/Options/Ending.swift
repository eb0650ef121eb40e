import Dispatch
@preconcurrency import Glibc

/// Calls `work` when the program is asked to end (Ctrl-C, SIGTERM), in place of ending it: consumers hand over what they have then, and
/// nobody gets a message again.
public func whenAskedToEnd(_ work: @escaping @Sendable () -> Void) {
    for number in [SIGINT, SIGTERM] {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        // The source lives as long as its handler, which is for ever.
        source.setEventHandler {
            work()
            _ = source
        }
        source.activate()
    }
}
