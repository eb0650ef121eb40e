import Foundation
import RocketMQBase
import Testing

/// Random histories with kills, losses of power and faults of the disk, of which `mqtorture` runs as many as one likes.
@Suite struct TortureTests {
    /// So many seeds in each of the parts that run beside each other.
    private static let parts = 8

    @Test(arguments: 0..<parts)
    func whatTheStoreHasPromisedHoldsWhateverHappens(part: Int) throws {
        var counts = TortureCounts()
        for seed in seeds(2000) where seed % Self.parts == part { counts += try StoreHistory.run(seed: UInt64(seed)) }
        let isShort = ProcessInfo.processInfo.environment["STORE_SEEDS"] != nil
        #expect(isShort || counts.kills > 20 && counts.powerLosses > 20 && counts.endsInRecovery > 20, "\(counts)")
    }

    /// The index was ahead of a log that lost its end, or had a file of another time, or lacked one; a file that could not be
    /// removed came again; turned bits in the heads of records led others astray, or made queues;
    /// consume queues of messages that never became durable had positions.
    @Test(
        arguments: [
            249, 2299, 2821, 2887, 4410, 4861, 5645, 6874, 14_431, 14_521, 16_375, 22_205, 45_773, 117_909, 119_021, 136_429, 148_773,
            159_445, 197_773,
        ]
            as [UInt64])
    func seedsThatFoundSomething(seed: UInt64) throws { try StoreHistory.run(seed: seed) }
}
