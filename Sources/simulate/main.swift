// Runs simulated clusters from seeds: simulate consumers 0-9999
//
// Prints the seeds whose promises were not kept; a single seed tells its story. Ends with 1 when there were any.

import Glibc
import RocketMQTesting

func usage() -> Never {
    print("usage: simulate consumers|transactions SEED[-SEED]")
    exit(2)
}

/// What came of one seed.
struct Outcome {
    var violations: [String]
    var simulation: Simulation
    var summary: String
}

func run(_ kind: String, _ seed: UInt64) throws -> Outcome {
    switch kind {
    case "consumers":
        let scenario = try ConsumerScenario(seed: seed)
        let violations = try scenario.run()
        return Outcome(
            violations: violations, simulation: scenario.simulation,
            summary: "\(scenario.history.acknowledgedCount) messages, \(scenario.history.repeatedCount) repeated")
    case "transactions":
        let scenario = try TransactionScenario(seed: seed)
        let violations = try scenario.run()
        return Outcome(
            violations: violations, simulation: scenario.simulation,
            summary: "\(scenario.history.count) transactions, \(scenario.history.checkCount) questions")
    default: usage()
    }
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
exit(failed == 0 ? 0 : 1)
