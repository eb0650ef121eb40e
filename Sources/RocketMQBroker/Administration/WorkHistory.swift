import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// How much was done over the last minute, hour and day: samples of counters that only grow, taken every ten seconds, ten
/// minutes and hour, as in the reference.
struct WorkHistory {
    struct Sample {
        var time: MonotonicTime
        var messages: Int64 = 0
        var bytes: Int64 = 0
    }

    static let interval: Duration = .seconds(10)
    /// Seven samples have six intervals between them, 25 have 24.
    private static let spans: [(interval: Duration, samples: Int)] = [(interval, 7), (.seconds(600), 7), (.seconds(3600), 25)]

    /// Of the minute, the hour and the day, the newest last.
    private var samples: [[Sample]]

    /// Of counters that were 0 a moment ago.
    init(now: MonotonicTime) {
        samples = Self.spans.map { [Sample(time: MonotonicTime(nanoseconds: now.nanoseconds - $0.interval.inNanoseconds))] }
    }

    mutating func take(_ sample: Sample) {
        for (index, span) in Self.spans.enumerated() {
            // Half an interval of grace: calls come a little early or late.
            guard let last = samples[index].last, sample.time - last.time + Self.interval / 2 >= span.interval else { continue }
            samples[index].append(sample)
            if samples[index].count > span.samples { samples[index].removeFirst() }
        }
    }

    /// The sums and rates up to `now`.
    func data(_ now: Sample, _ counter: KeyPath<Sample, Int64>) -> BrokerStatsData {
        let items = samples.map { samples -> BrokerStatsItem in
            guard let first = samples.first, now.time > first.time else { return BrokerStatsItem() }
            let sum = now[keyPath: counter] - first[keyPath: counter]
            let calls = now.messages - first.messages
            return BrokerStatsItem(
                sum: sum, tps: Double(sum) * 1e9 / Double((now.time - first.time).inNanoseconds),
                avgpt: calls > 0 ? Double(sum) / Double(calls) : 0)
        }
        return BrokerStatsData(statsMinute: items[0], statsHour: items[1], statsDay: items[2])
    }
}

/// What one group got of a topic, and gave back. Confined to the broker's loop; hot paths keep it.
final class GroupWork {
    var messages: Int64 = 0
    var bytes: Int64 = 0
    var sentBack: Int64 = 0
    var history: WorkHistory?
    var sentBackHistory: WorkHistory?
}

/// Takes the samples of topics, groups and the broker, and tells tools what they say (315). Confined to the broker's loop.
final class WorkStatistics: AdministrationHandler {
    let codes: [RequestCode] = [.viewBrokerStatsData]
    private let clusterName: String
    private let topics: TopicTable
    private let groups: SubscriptionGroupTable
    private let counters: BrokerCounters
    private let loop: any EventLoop
    private var putHistory: WorkHistory
    private var getHistory: WorkHistory
    private var timer: (any ScheduledCall)?

    /// Topics looked at in one piece, so that requests come in between.
    private static let topicsAtOnce = 4096

    init(clusterName: String, topics: TopicTable, groups: SubscriptionGroupTable, counters: BrokerCounters, loop: any EventLoop) {
        self.clusterName = clusterName
        self.topics = topics
        self.groups = groups
        self.counters = counters
        self.loop = loop
        putHistory = WorkHistory(now: loop.clock.monotonicNow)
        getHistory = putHistory
    }

    func start() {
        timer = loop.scheduleRepeatedly(every: WorkHistory.interval) { [weak self] in self?.sample() }
    }

    func stop() {
        timer?.cancel()
        timer = nil
    }

    // MARK: Samples

    private func sample() {
        let now = loop.clock.monotonicNow
        putHistory.take(.init(time: now, messages: counters.storedMessages, bytes: counters.storedBytes))
        getHistory.take(.init(time: now, messages: counters.pulledMessages, bytes: counters.pulledBytes))
        sample(topics.all, from: 0, now)
    }

    private func sample(_ all: [Topic], from start: Int, _ now: MonotonicTime) {
        guard timer != nil else { return }
        let end = min(all.count, start + Self.topicsAtOnce)
        for topic in all[start..<end] {
            Self.take(&topic.history, .init(time: now, messages: topic.storedMessages, bytes: topic.storedBytes))
            for (name, work) in topic.groupWork {
                Self.take(&work.history, .init(time: now, messages: work.messages, bytes: work.bytes))
                Self.take(&work.sentBackHistory, .init(time: now, messages: work.sentBack))
                if groups.existing(name) == nil { topic.forgetWork(ofGroup: name) }
            }
        }
        guard end < all.count else { return }
        loop.schedule(after: .milliseconds(1)) { [weak self] in self?.sample(all, from: end, now) }
    }

    /// Nothing is kept of what never did anything.
    private static func take(_ history: inout WorkHistory?, _ sample: WorkHistory.Sample) {
        guard history != nil || sample.messages > 0 else { return }
        if history == nil { history = WorkHistory(now: sample.time) }
        history?.take(sample)
    }

    // MARK: Answers

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (name, key) = (try request.text("statsName"), try request.text("statsKey"))
        guard let data = data(name, key) else { throw InvalidRequest("The stats <\(name)> <\(key)> not exist") }
        return .success(body: data.encoded())
    }

    private func data(_ name: String, _ key: String) -> BrokerStatsData? {
        let now = loop.clock.monotonicNow
        func data(
            _ history: WorkHistory?, _ messages: Int64, _ bytes: Int64 = 0, _ counter: KeyPath<WorkHistory.Sample, Int64> = \.messages
        ) -> BrokerStatsData? {
            guard messages > 0 else { return nil }
            return (history ?? WorkHistory(now: now)).data(.init(time: now, messages: messages, bytes: bytes), counter)
        }
        switch name {
        case "BROKER_PUT_NUMS": return key == clusterName ? data(putHistory, counters.storedMessages) : nil
        case "BROKER_GET_NUMS": return key == clusterName ? data(getHistory, counters.pulledMessages) : nil
        case "TOPIC_PUT_NUMS", "TOPIC_PUT_SIZE":
            guard let topic = topics.find(key) else { return nil }
            return data(topic.history, topic.storedMessages, topic.storedBytes, name.hasSuffix("SIZE") ? \.bytes : \.messages)
        case "GROUP_GET_NUMS", "GROUP_GET_SIZE", "SNDBCK_PUT_NUMS":
            // Neither names of topics nor of groups have an @.
            guard let at = key.firstIndex(of: "@"), let topic = topics.find(String(key[..<at])),
                let work = topic.groupWork[String(key[key.index(after: at)...])]
            else { return nil }
            if name == "SNDBCK_PUT_NUMS" { return data(work.sentBackHistory, work.sentBack) }
            return data(work.history, work.messages, work.bytes, name.hasSuffix("SIZE") ? \.bytes : \.messages)
        default: return nil
        }
    }
}
