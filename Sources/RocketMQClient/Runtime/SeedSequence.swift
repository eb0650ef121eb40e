import RocketMQBase
import Synchronization

/// Hands out seeds, from any thread.
final class SeedSequence: Sendable {
    private let source: Mutex<RandomSource>

    init(_ seed: UInt64) { source = Mutex(RandomSource(seed: seed)) }

    func next() -> UInt64 { source.withLock { $0.next() } }
}
