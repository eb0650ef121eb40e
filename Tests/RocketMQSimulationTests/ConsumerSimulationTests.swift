import RocketMQTesting
import Testing

/// A few seeds of each kind; with the released program `Tests/Interop` runs hundreds.
@Suite struct ConsumerSimulationTests {
    /// Clients of any language: what they are promised by the servers.
    @Test(
        "Whatever happens to members, brokers and networks: nothing lost, doubled without cause, out of order or left alone",
        arguments: seeds(5))
    func promises(seed: Int) throws { try check(seed, nil) }

    /// This project's own client, for which a member that comes or goes is no cause to double anything either.
    @Test("The same with this project's consumers that are called in many calls at once", arguments: seeds(15))
    func concurrent(seed: Int) throws { try check(seed, .concurrent) }

    @Test("The same with this project's orderly consumers", arguments: seeds(15))
    func orderly(seed: Int) throws { try check(seed, .orderly) }

    @Test("The same with this project's broadcasting consumers, each of which gets everything", arguments: seeds(15))
    func broadcasting(seed: Int) throws { try check(seed, .broadcasting) }

    @Test("The same with this project's pull consumers", arguments: seeds(15))
    func pull(seed: Int) throws { try check(seed, .pull) }

    private func check(_ seed: Int, _ client: ClientKind?) throws {
        let scenario = try ConsumerScenario(seed: UInt64(seed), client: client)
        let violations = try scenario.run()
        #expect(violations.isEmpty, complaint(seed, violations, scenario.simulation))
        #expect(scenario.history.acknowledgedCount > 0)
    }

    @Test("A seed decides everything", arguments: [nil] + ClientKind.allCases, [1])
    func repeatable(client: ClientKind?, seed: Int) throws {
        let runs = try (0..<2).map { _ in
            let scenario = try ConsumerScenario(seed: UInt64(seed), client: client)
            _ = try scenario.run()
            return scenario
        }
        #expect(runs[0].simulation.story == runs[1].simulation.story)
        #expect(runs[0].simulation.fingerprint == runs[1].simulation.fingerprint)
    }
}
