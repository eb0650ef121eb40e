import RocketMQBase
import Testing

/// Random histories of a broker with its clients, and damaged bytes and files: `mqtorture` runs as many as one likes.
@Suite struct TortureTests {
    /// A debug build is some ten times slower.
    #if DEBUG
        private static let (histories, fuzzed): (UInt64, UInt64) = (96, 64)
    #else
        private static let (histories, fuzzed): (UInt64, UInt64) = (2000, 2000)
    #endif
    private static let parts: UInt64 = 8

    @Test(arguments: 0..<parts)
    func whatTheBrokerHasAnsweredHoldsWhateverHappens(part: UInt64) throws {
        var counts = TortureCounts()
        for seed in 0..<Self.histories where seed % Self.parts == part { counts += try BrokerHistory.run(seed: seed) }
        #expect(counts.kills > 3 && counts.powerLosses > 3 && counts.endsInRecovery > 3, "\(counts)")
    }

    @Test(arguments: 0..<parts)
    func damagedBytesAreReadOrRefused(part: UInt64) throws {
        var counts = TortureCounts()
        for seed in 0..<Self.fuzzed where seed % Self.parts == part { counts += try Fuzz.run(seed: seed) }
        for what in ["records", "frames", "tables", "batches"] { #expect(counts.cases[what, default: 0] > 100, "\(counts)") }
    }
}
