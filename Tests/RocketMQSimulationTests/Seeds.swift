import Foundation
import RocketMQTesting
import Testing

/// The seeds to try: the first so many, or those that `CLUSTER_SEEDS` says: `17`, or `0-5000`.
func seeds(_ count: Int) -> Range<Int> {
    guard let text = ProcessInfo.processInfo.environment["CLUSTER_SEEDS"] else { return 0..<count }
    let ends = text.split(separator: "-").compactMap { Int($0) }
    guard let first = ends.first, let last = ends.last, first <= last else { return 0..<count }
    return first..<(ends.count == 1 ? first + 1 : last)
}

/// Whether one seed alone is being looked at: its story is told then.
var isReplay: Bool { ProcessInfo.processInfo.environment["CLUSTER_SEEDS"].map { Int($0) != nil } ?? false }

func complaint(_ seed: Int, _ violations: [String], _ simulation: Simulation) -> Comment {
    if isReplay {
        for line in simulation.story { print(line) }
        for record in simulation.log.records { print(record.line) }
    }
    return "seed \(seed) (CLUSTER_SEEDS=\(seed) replays it): \(violations.prefix(3).joined(separator: "; "))"
}
