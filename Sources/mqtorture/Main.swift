import RocketMQBase
import RocketMQSystem
import RocketMQTesting
import Synchronization

/// `mqtorture KIND FIRST-LAST`: runs the histories of these seeds on all processors, and stops with the first promise that
/// does not hold. `mqtorture KIND SEED` runs one and prints its steps.
@main
struct MQTorture {
    struct Kind {
        let name: String
        let what: String
        let run: @Sendable (UInt64) throws(TortureFailure) -> TortureCounts
        let replay: @Sendable (UInt64) throws(TortureFailure) -> [String]
    }
    static let kinds = [
        Kind(
            name: "store", what: "the message store: kills, losses of power, faults of the disk",
            run: { (seed) throws(TortureFailure) in try StoreHistory.run(seed: seed) },
            replay: { (seed) throws(TortureFailure) in try StoreHistory.replay(seed: seed) }),
        Kind(
            name: "broker", what: "a broker with its clients: what its answers promise, through kills and losses of power",
            run: { (seed) throws(TortureFailure) in try BrokerHistory.run(seed: seed) },
            replay: { (seed) throws(TortureFailure) in try BrokerHistory.replay(seed: seed) }),
        Kind(
            name: "consumers", what: "groups of this project's consumers in a simulated cluster: crashes, cuts, pauses, restarts",
            run: { (seed) throws(TortureFailure) in try ConsumerTorture.run(seed: seed) },
            replay: { (seed) throws(TortureFailure) in try ConsumerTorture.replay(seed: seed) }),
        Kind(
            name: "fuzz", what: "damaged bytes against all that reads records, frames, tables and files: a few hundred cases a seed",
            run: { (seed) throws(TortureFailure) in try Fuzz.run(seed: seed) },
            replay: { (seed) throws(TortureFailure) in try Fuzz.replay(seed: seed) }),
    ]

    static let usage =
        "usage: mqtorture KIND FIRST-LAST | KIND SEED\n" + kinds.map { "  \($0.name)  \($0.what)" }.joined(separator: "\n")

    static func main() async {
        // The order of dictionaries is part of a history.
        if CurrentProcess.environment("SWIFT_DETERMINISTIC_HASHING") == nil {
            CurrentProcess.startAgain(withEnvironment: "SWIFT_DETERMINISTIC_HASHING", "1")
        }
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count == 2, let kind = kinds.first(where: { $0.name == arguments[0] }) else {
            print(usage)
            CurrentProcess.exit(2)
        }
        let ends = arguments[1].split(separator: "-").compactMap { UInt64($0) }
        guard let first = ends.first, let last = ends.last, first <= last, ends.count <= 2 else {
            print("\(arguments[1]) is neither a seed nor a range of seeds like 0-100000\n\(usage)")
            CurrentProcess.exit(2)
        }
        if ends.count == 1 { replay(kind, first) }
        await run(kind.run, first...last)
    }

    private static func replay(_ kind: Kind, _ seed: UInt64) {
        do throws(TortureFailure) {
            let steps = try kind.replay(seed)
            print(steps.joined(separator: "\n") + "\n\(kind.name) seed \(seed): every promise held")
            CurrentProcess.exit(0)
        } catch {
            print(error)
            CurrentProcess.exit(1)
        }
    }

    private static func run(
        _ work: @escaping @Sendable (UInt64) throws(TortureFailure) -> TortureCounts, _ seeds: ClosedRange<UInt64>
    ) async {
        let began = LinuxClock().monotonicNow
        let progress = Progress(seeds, began: began)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<max(1, CurrentProcess.processorCount) {
                group.addTask {
                    while let seed = progress.next() {
                        do throws(TortureFailure) { progress.ended(try work(seed)) } catch { progress.failed(error) }
                    }
                }
            }
        }
        CurrentProcess.exit(progress.summarize())
    }
}

/// Hands out seeds and gathers what became of them.
private final class Progress: Sendable {
    private struct State {
        var next: UInt64
        var counts = TortureCounts()
        var failures: [TortureFailure] = []
        var lastLine: MonotonicTime
    }
    private let state: Mutex<State>
    private let last: UInt64
    private let began: MonotonicTime

    init(_ seeds: ClosedRange<UInt64>, began: MonotonicTime) {
        state = Mutex(State(next: seeds.lowerBound, lastLine: began))
        last = seeds.upperBound
        self.began = began
    }

    /// `nil` when all are done, or enough have failed.
    func next() -> UInt64? {
        state.withLock { state in
            guard state.next <= last, state.failures.count < 20 else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    func ended(_ counts: TortureCounts) {
        let line: String? = state.withLock { state in
            state.counts += counts
            let now = LinuxClock().monotonicNow
            guard now - state.lastLine >= .seconds(10) else { return nil }
            state.lastLine = now
            return "\((now - began).inMilliseconds / 1000) s: \(state.counts)"
        }
        if let line { print(line) }
    }

    func failed(_ failure: TortureFailure) {
        state.withLock { $0.failures.append(failure) }
        print(failure)
    }

    func summarize() -> Int32 {
        let took = (LinuxClock().monotonicNow - began).inMilliseconds
        return state.withLock { state in
            print("\(state.counts) in \(took) ms")
            if state.failures.isEmpty { print("every promise held") } else { print("FAILED: \(state.failures.map(\.seed))") }
            return state.failures.isEmpty ? 0 : 1
        }
    }
}
