/// Simulated consumer groups for `mqtorture`: the seed says, besides all else, with which kind of this project's consumers.
public enum ConsumerTorture {
    public static func run(seed: UInt64) throws(TortureFailure) -> TortureCounts {
        let (scenario, violations) = try play(seed)
        if let first = violations.first { throw TortureFailure(kind: "consumers", seed: seed, what: first, steps: []) }
        var counts = TortureCounts()
        counts.histories = 1
        counts.messages = scenario.history.acknowledgedCount
        let story = scenario.simulation.story
        counts.kills = story.count { $0.hasSuffix(" killed") || $0.hasSuffix(" crashes") }
        counts.powerLosses = story.count { $0.hasSuffix(" loses power") }
        counts.cleanStops = story.count { $0.hasSuffix(" stopped") || $0.hasSuffix(" has left") }
        return counts
    }

    /// What happened, line by line.
    public static func replay(seed: UInt64) throws(TortureFailure) -> [String] {
        let (scenario, violations) = try play(seed)
        let story = scenario.simulation.story + scenario.simulation.log.records.map(\.line)
        if let first = violations.first { throw TortureFailure(kind: "consumers", seed: seed, what: first, steps: story) }
        return story
    }

    private static func play(_ seed: UInt64) throws(TortureFailure) -> (ConsumerScenario, [String]) {
        let kinds = ClientKind.allCases
        do {
            let scenario = try ConsumerScenario(seed: seed, client: kinds[Int(seed % UInt64(kinds.count))])
            return (scenario, try scenario.run())
        } catch { throw TortureFailure(kind: "consumers", seed: seed, what: "cannot be simulated: \(error)", steps: []) }
    }
}
