// Runs simulated clusters from seeds: simulate consumers 0-9999
//
// Prints the seeds whose promises were not kept; a single seed tells its story. Ends with 1 when there were any.

import RocketMQSystem
import RocketMQTesting

func usage() -> Never {
    print("usage: simulate consumers|\(ClientKind.allCases.map(\.rawValue).joined(separator: "|"))|transactions SEED[-SEED]")
    CurrentProcess.exit(2)
}

/// What came of one seed.
struct Outcome {
    var violations: [String]
    var simulation: Simulation
    var summary: String
}

func run(_ kind: String, _ seed: UInt64) throws -> Outcome {
    let client = ClientKind(rawValue: kind)
    if client != nil || kind == "consumers" {
        let scenario = try ConsumerScenario(seed: seed, client: client)
        let violations = try scenario.run()
        return Outcome(
            violations: violations, simulation: scenario.simulation,
            summary: "\(scenario.history.acknowledgedCount) messages, \(scenario.history.repeatedCount) repeated")
    }
    guard kind == "transactions" else { usage() }
    let scenario = try TransactionScenario(seed: seed)
    let violations = try scenario.run()
    return Outcome(
        violations: violations, simulation: scenario.simulation,
        summary: "\(scenario.history.count) transactions, \(scenario.history.checkCount) questions")
}

// The order of dictionaries must be no part of a history; should it be one after all, then of the same one in every run.
if CurrentProcess.environment("SWIFT_DETERMINISTIC_HASHING") == nil {
    CurrentProcess.startAgain(withEnvironment: "SWIFT_DETERMINISTIC_HASHING", "1")
}
let words = CommandLine.arguments
guard words.count == 3 else { usage() }
let ends = words[2].split(separator: "-").compactMap { UInt64($0) }
guard let first = ends.first, let last = ends.last, first <= last else { usage() }
var failed = 0
for seed in first...last {
    let outcome = try run(words[1], seed)
    if first == last {
        for line in outcome.simulation.story { print(line) }
        for record in outcome.simulation.log.records { print(record.line) }
        print(outcome.summary, "fingerprint", outcome.simulation.fingerprint)
    }
    guard !outcome.violations.isEmpty else { continue }
    failed += 1
    print("seed \(seed):")
    for line in outcome.violations.prefix(5) { print("    \(line)") }
}
print("\(last - first + 1) seeds, \(failed) with promises not kept")
CurrentProcess.exit(failed == 0 ? 0 : 1)
