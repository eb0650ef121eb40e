import RocketMQTesting
import Testing

@Suite struct TransactionSimulationTests {
    @Test(
        "Whatever crashes: committed is delivered, rolled back never, nothing undecided is forgotten or asked about once decided",
        arguments: seeds(80))
    func promises(seed: Int) throws {
        let scenario = try TransactionScenario(seed: UInt64(seed))
        let violations = try scenario.run()
        #expect(violations.isEmpty, complaint(seed, violations, scenario.simulation))
    }

    @Test("Nothing stays in memory of a cluster that has ended, with brokers that were killed in it", arguments: seeds(5))
    func nothingIsLeft(seed: Int) throws {
        weak var simulation: Simulation?
        weak var history: TransactionHistory?
        let files = try {
            let scenario = try TransactionScenario(seed: UInt64(seed))
            _ = try scenario.run()
            (simulation, history) = (scenario.simulation, scenario.history)
            return scenario.fileGenerations
        }()
        #expect(simulation == nil && history == nil)
        let left = files.filter { $0.value != nil }.count
        #expect(!files.isEmpty && left == 0, "the files of \(left) of \(files.count) brokers are left")
    }

    @Test("A seed decides everything", arguments: [1, 2, 3])
    func repeatable(seed: Int) throws {
        let runs = try (0..<2).map { _ in
            let scenario = try TransactionScenario(seed: UInt64(seed))
            _ = try scenario.run()
            return scenario
        }
        #expect(runs[0].simulation.story == runs[1].simulation.story)
        #expect(runs[0].simulation.fingerprint == runs[1].simulation.fingerprint)
    }
}
