import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Looks every few seconds whether the consumer groups get on, says in the log when one ceases to or does again, and tells
/// tools. Confined to the broker's loop; a look at many groups is done in pieces, so that requests come in between.
final class GroupWatch {
    struct Configuration: Equatable {
        /// `consumerCheckInterval`.
        var interval: Duration = .seconds(30)
        var limits = GroupInspection.Limits()
    }

    var configuration: Configuration {
        didSet { if configuration.interval != oldValue.interval, timer != nil { schedule() } }
    }
    /// What the last look found, and when it was.
    private(set) var findings: [ConsumerGroupFinding] = []
    private(set) var lookedAtMilliseconds: Int64
    private let brokerName: String
    private let tables: GroupInspection.Tables
    private let loop: any EventLoop
    private let log: Logger
    private var timer: (any ScheduledCall)?
    private var look: Look?
    /// Those told of in the log, so that each is told of once.
    private var told: [Key: ConsumerGroupFinding] = [:]

    /// Queues looked at in one piece, and findings told of in one look.
    private static let queuesAtOnce = 4096
    private static let mostTold = 50

    private struct Key: Hashable {
        var kind: ConsumerGroupFinding.Kind
        var group: String
        var topic: String?
        var queueID: Int32?
        /// Of clients that share one.
        var clientID: String?

        init(_ finding: ConsumerGroupFinding) {
            (kind, group, topic, queueID) = (finding.kind, finding.group, finding.topic, finding.queueID)
            if kind == .sameClientID { clientID = finding.clients.first?.connection.clientID }
        }
    }

    /// A look under way.
    private final class Look {
        var groups: [String]
        var next = 0
        var found: [ConsumerGroupFinding] = []
        var waiting: [(ConsumerGroupReport) -> Void] = []

        init(_ groups: [String]) { self.groups = groups }
    }

    init(
        _ configuration: Configuration, brokerName: String, tables: GroupInspection.Tables, loop: any EventLoop, log: Logger
    ) {
        self.configuration = configuration
        self.brokerName = brokerName
        self.tables = tables
        self.loop = loop
        self.log = log
        lookedAtMilliseconds = loop.clock.wallMilliseconds
    }

    func start() { schedule() }

    func stop() {
        timer?.cancel()
        timer = nil
        look = nil
    }

    private func schedule() {
        timer?.cancel()
        timer = loop.scheduleRepeatedly(every: configuration.interval) { [weak self] in self?.lookAtAll() }
    }

    // MARK: Looking

    /// Looks at all groups, and calls back with what was found; one look serves all that ask meanwhile.
    func lookAtAll(_ completion: ((ConsumerGroupReport) -> Void)? = nil) {
        if let completion, let look { return look.waiting.append(completion) }
        guard look == nil else { return }
        let connected = Set(tables.clients.consumerGroups.map(\.name))
        let started = Look(connected.union(tables.offsets.groupNames).sorted())
        if let completion { started.waiting.append(completion) }
        look = started
        goOn(started)
    }

    private func goOn(_ current: Look) {
        guard look === current else { return }
        let inspection = inspection()
        var queues = 0
        while current.next < current.groups.count, queues < Self.queuesAtOnce {
            queues += inspection.inspect(current.groups[current.next], &current.found)
            current.next += 1
        }
        guard current.next == current.groups.count else {
            loop.schedule(after: .milliseconds(1)) { [weak self] in self?.goOn(current) }
            return
        }
        look = nil
        findings = current.found
        lookedAtMilliseconds = loop.clock.wallMilliseconds
        tell()
        let report = ConsumerGroupReport(
            brokerName: brokerName, time: lookedAtMilliseconds, groupCount: current.groups.count, findings: findings)
        for completion in current.waiting { completion(report) }
    }

    private func inspection() -> GroupInspection {
        GroupInspection(tables, brokerName: brokerName, clock: loop.clock, limits: configuration.limits)
    }

    /// Whether the group has consumers or offsets here.
    func knows(_ group: String) -> Bool { tables.clients.consumerGroup(group) != nil || !tables.offsets.topics(ofGroup: group).isEmpty }

    /// Looks at one group now.
    func report(ofGroup group: String) -> ConsumerGroupReport {
        var found: [ConsumerGroupFinding] = []
        _ = inspection().inspect(group, &found)
        return ConsumerGroupReport(
            brokerName: brokerName, time: loop.clock.wallMilliseconds, groupCount: 1, findings: found,
            members: tables.clients.consumerGroup(group)?.sortedMembers.map { $0.report() } ?? [])
    }

    // MARK: Telling

    /// How many findings there are of each kind, for the broker's runtime table (28).
    var runtimeEntries: [String: String] {
        var counts: [String: Int] = [:]
        for finding in findings { counts[finding.kind.rawValue, default: 0] += 1 }
        return ["consumerGroupFindings": counts.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")]
    }

    /// Logs what is new, and what is gone.
    private func tell() {
        var now: [Key: ConsumerGroupFinding] = [:]
        // Subscriptions that differ are told of when a heartbeat shows it.
        for finding in findings where finding.kind != .differentSubscriptions && finding.kind != .differentModels {
            now[Key(finding)] = finding
        }
        var fresh = 0
        for finding in findings {
            let key = Key(finding)
            guard now[key] != nil, told[key] == nil else { continue }
            fresh += 1
            if fresh <= Self.mostTold { log.warning(finding.message) }
        }
        if fresh > Self.mostTold {
            log.warning("\(fresh - Self.mostTold) more findings on consumer groups: mqadmin checkConsumers shows all")
        }
        for (key, finding) in told where now[key] == nil {
            let place = [finding.topic.map { "topic \($0)" }, finding.queueID.map { "queue \($0)" }].compactMap { $0 }
            log.info("no longer: \(finding.kind.rawValue) of group \(finding.group)" + place.map { ", \($0)" }.joined())
        }
        told = now
    }
}

extension BrokerConfiguration {
    var groupWatch: GroupWatch.Configuration {
        GroupWatch.Configuration(
            interval: .milliseconds(settings[BrokerSettings.consumerCheckInterval]),
            limits: GroupInspection.Limits(
                stoppedAfter: .milliseconds(settings[BrokerSettings.consumerStoppedAfter]),
                backlog: settings[BrokerSettings.consumerBacklogWarning],
                oldestVersion: Int32(settings[BrokerSettings.oldestClientVersion]), permission: permission))
    }
}
