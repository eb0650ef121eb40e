import RocketMQBase
import RocketMQProtocol

/// What happened to transactions in a simulation, held against what they are promised.
public final class TransactionHistory {
    private struct Record {
        var broker: String?
        /// Questions of brokers since it was last taken up.
        var checks = 0
        var lastStoredAt: MonotonicTime?
        var isDelayed = false
        var isCommitSent = false
        var isRollbackSent = false
        var isOutcomeSent: Bool { isCommitSent || isRollbackSent }
    }

    private let simulation: Simulation
    let mostChecks: Int
    /// Whether some messages have a delay beside their transaction.
    let usesDelays: Bool
    /// A broker was killed: it may deliver what was delayed again, from where it last noted how far it was.
    var wasBrokerKilled = false
    private var records: [String: Record] = [:]
    /// Those whose producers never know.
    private var stubborn: Set<String> = []
    public private(set) var violations: [String] = []
    public private(set) var checkCount = 0

    init(_ simulation: Simulation, mostChecks: Int, usesDelays: Bool) {
        self.simulation = simulation
        self.usesDelays = usesDelays
        self.mostChecks = mostChecks
    }

    func violated(_ what: String) {
        simulation.note("VIOLATED: \(what)")
        violations.append("at \(simulation.now.nanoseconds / 1_000_000) ms: \(what)")
    }

    func isStubborn(_ key: String) -> Bool { stubborn.contains(key) }
    func makeStubborn(_ key: String) { stubborn.insert(key) }

    // MARK: What producers do

    func sending(_ key: String) { records[key, default: Record()].broker = nil }
    func delayed(_ key: String) { records[key, default: Record()].isDelayed = true }
    func halfStored(_ key: String, at broker: String) { records[key, default: Record()].broker = broker }

    func outcomeSent(_ key: String, isCommit: Bool) {
        var record = records[key, default: Record()]
        if isCommit { record.isCommitSent = true } else { record.isRollbackSent = true }
        if record.isCommitSent, record.isRollbackSent {
            violated("\(key) was said to be committed and to be rolled back: the scenario is wrong")
        }
        records[key] = record
    }

    /// The broker has said that the outcome is stored.
    func outcomeStored(_ key: String) { if records[key]?.lastStoredAt == nil { records[key]?.lastStoredAt = simulation.now } }

    func asked(_ key: String, _ message: MessageExt, by producer: String) {
        if message.properties["TRAN_MSG"] == nil { violated("\(producer) is asked about \(key), which is no half message") }
    }

    // MARK: What brokers do

    /// A question leaves a broker.
    func checkSent(_ key: String, by host: String) {
        checkCount += 1
        var record = records[key, default: Record()]
        record.checks += 1
        if let stored = record.lastStoredAt {
            violated("\(host) asks about \(key) \((simulation.now - stored).inMilliseconds) ms after it had its outcome")
        }
        if record.checks > mostChecks { violated("\(host) asks about \(key) the \(record.checks). time, more than \(mostChecks) times") }
        records[key] = record
    }

    /// A tool takes it up again.
    func resumed(_ key: String) { records[key]?.checks = 0 }

    // MARK: Visibility

    /// Transactions that a broker must still count as undecided.
    func certainlyUndecided(at broker: String) -> [String] {
        records.filter { $0.value.broker == broker && !$0.value.isOutcomeSent && $0.value.checks < mostChecks }.keys.sorted()
    }

    /// What became of each half message that a broker said it has.
    func check(database: SimulatedDatabase, delivered: [String: Int], setAside: Set<String>, consumed: (String) -> Bool) {
        for (key, record) in records.sorted(by: { $0.key < $1.key }) {
            let copies = delivered[key] ?? 0
            let isCommitted = database.isCommitted(key)
            if !isCommitted, copies > 0 { violated("\(key) was not committed, and is delivered") }
            if copies > 1, !(record.isDelayed && wasBrokerKilled) { violated("\(key) is delivered \(copies) times") }
            if copies > 0, !consumed(key) { violated("\(key) is there, and no consumer got it") }
            guard record.broker != nil else { continue }
            if setAside.contains(key) {
                if record.checks < mostChecks { violated("\(key) was set aside after \(record.checks) questions of \(mostChecks)") }
            } else if isCommitted, copies == 0 {
                violated("\(key) was committed, and is neither delivered nor set aside")
            } else if !isCommitted, !record.isRollbackSent {
                violated("\(key) is neither decided nor undecided nor set aside: it has vanished")
            }
        }
    }

    public var count: Int { records.count }
}
