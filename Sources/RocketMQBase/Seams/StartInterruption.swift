import Synchronization

/// Whether a program that is starting is to end instead. A start that may take long asks at places where it can be left off,
/// as after a kill: whoever starts the program next finds the same.
public final class StartInterruption: Sendable {
    private let isWanted: @Sendable () -> Bool
    private let state = Atomic(false)

    /// - Parameter isWanted: asked on any thread, every millisecond or so.
    public init(_ isWanted: @escaping @Sendable () -> Bool = { false }) { self.isWanted = isWanted }

    /// True when the start is to be left off, which the one who asks does then.
    public func isHeeded() -> Bool {
        guard isWanted() else { return false }
        state.store(true, ordering: .releasing)
        return true
    }

    /// The start failed for this reason alone.
    public var wasHeeded: Bool { state.load(ordering: .acquiring) }
}
