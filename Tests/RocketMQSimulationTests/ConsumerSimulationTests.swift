import RocketMQTesting
import Testing

@Suite struct ConsumerSimulationTests {
    @Test(
        "Whatever happens to members, brokers and networks: nothing lost, doubled without cause, out of order or left alone",
        arguments: seeds(100))
    func promises(seed: Int) throws {
        let scenario = try ConsumerScenario(seed: UInt64(seed))
        let violations = try scenario.run()
        #expect(violations.isEmpty, complaint(seed, violations, scenario.simulation))
        #expect(scenario.history.acknowledgedCount > 0)
    }

    @Test("A seed decides everything", arguments: [1, 2, 3, 4, 5])
    func repeatable(seed: Int) throws {
        let runs = try (0..<2).map { _ in
            let scenario = try ConsumerScenario(seed: UInt64(seed))
            _ = try scenario.run()
            return scenario
        }
        #expect(runs[0].simulation.story == runs[1].simulation.story)
        #expect(runs[0].simulation.fingerprint == runs[1].simulation.fingerprint)
    }
}
