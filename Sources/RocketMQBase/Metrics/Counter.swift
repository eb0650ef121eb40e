import Synchronization

/// A number that many threads add to: 5 ns an addition. What only one loop touches should be a plain integer there.
public final class Counter: Sendable {
    private let number: Atomic<Int64>

    public init(_ start: Int64 = 0) { number = Atomic(start) }

    public var value: Int64 { number.load(ordering: .relaxed) }

    public func add(_ amount: Int64 = 1) { number.wrappingAdd(amount, ordering: .relaxed) }

    /// The value, which starts again at zero: nothing added meanwhile is lost.
    public func take() -> Int64 { number.exchange(0, ordering: .relaxed) }
}
