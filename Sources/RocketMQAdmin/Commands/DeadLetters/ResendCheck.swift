import RocketMQBase
import RocketMQProtocol

/// What can be known beforehand of what a broker will do with a dead letter that is sent again. Asks each broker once.
struct ResendCheck {
    /// Whether copies have to say that they are some.
    let isMarkNeeded: Bool
    private var settings: [String: [String: String]] = [:]
    private var topics: [Place: AdminError?] = [:]

    private struct Place: Hashable {
        var address: String
        var topic: String
    }

    init(isMarkNeeded: Bool) { self.isMarkNeeded = isMarkNeeded }

    mutating func settings(of address: String, _ context: AdminContext) async throws(AdminError) -> [String: String] {
        if let known = settings[address] { return known }
        let asked = try await context.client.settings(ofBroker: address)
        let found = Dictionary(asked.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
        settings[address] = found
        return found
    }

    /// The properties that the copy gets. Throws when there is no room for them.
    mutating func properties(
        of letter: DeadLetter, forTopic topic: String, _ context: AdminContext
    ) async throws(AdminError) -> MessageProperties {
        var cluster = letter.message.properties[PropertyName.cluster]
        if cluster == nil { cluster = try await settings(of: letter.address, context)["brokerClusterName"] }
        let brokerBytes = cluster.map { PropertyName.cluster.utf8CodeUnitCount + $0.utf8.count + 2 } ?? 0
        if let found = letter.fittingProperties(forTopic: topic, brokerBytes: brokerBytes, isMarkNeeded: isMarkNeeded) { return found }
        throw AdminError(
            .refused,
            "dead letter \(letter.message.offsetMessageID) cannot be sent again to topic \(topic): its properties leave no room for what a "
                + "copy needs (\(MessageProperties.mostBytes) bytes are the most)",
            remedy: remedy(letter, topic, brokerBytes))
    }

    /// What there would be room for.
    private func remedy(_ letter: DeadLetter, _ topic: String, _ brokerBytes: Int) -> String {
        func fits(_ topic: String, marked: Bool) -> Bool {
            letter.fittingProperties(forTopic: topic, brokerBytes: brokerBytes, isMarkNeeded: marked) != nil
        }
        let origin = letter.originTopic.flatMap { $0 == topic ? nil : $0 }
        var ways: [String] = []
        if let origin, fits(origin, marked: isMarkNeeded) { ways.append("-o sends it to the topic \(origin) itself, which needs less") }
        if isMarkNeeded, fits(topic, marked: false) {
            ways.append("-f sends it without the mark by which another run knows that it was sent")
        }
        if ways.isEmpty, isMarkNeeded, let origin, fits(origin, marked: false) {
            ways.append(
                "-o and -f together send it to the topic \(origin) itself, without the mark by which another run knows that it was sent")
        }
        return ways.isEmpty ? "send what is in it as a message of its own" : ways.joined(separator: "; ")
    }

    /// Throws when the broker would not take messages for the topic. The retry topic of a group is made when it is not there.
    mutating func require(_ topic: String, at address: String, _ context: AdminContext) async throws(AdminError) {
        let place = Place(address: address, topic: topic)
        if topics[place] == nil { topics[place] = .some(await refusal(topic, address, context)) }
        if let refusal = topics[place] ?? nil { throw refusal }
    }

    private func refusal(_ topic: String, _ address: String, _ context: AdminContext) async -> AdminError? {
        do throws(AdminError) {
            guard try await context.client.topicConfig(of: topic, atBroker: address).perm.contains(.write) else {
                return AdminError(
                    .refused, "topic \(topic) of broker \(address) may not be written to",
                    remedy: "mqadmin updateTopicPerm -t \(topic) -p 6",
                    responseCode: .noPermission)
            }
        } catch {
            switch error.responseCode {
            case .topicNotExist:
                guard !topic.hasPrefix(SystemTopic.retryPrefix) else { return nil }
                return AdminError(
                    .unknownTopic, "topic \(topic) does not exist on broker \(address)",
                    remedy: "mqadmin updateTopic -b \(address) -t \(topic) makes it", responseCode: .topicNotExist)
            // Brokers of older releases do not say.
            case .requestCodeNotSupported: return nil
            default: return error
            }
        }
        return nil
    }
}
