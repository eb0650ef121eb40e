import RocketMQProtocol

/// How a consumer group stands to a message.
struct MessageTrack: Sendable {
    enum Kind: String, Sendable {
        case consumed = "CONSUMED"
        case consumedButFiltered = "CONSUMED_BUT_FILTERED"
        case pull = "PULL"
        case notConsumedYet = "NOT_CONSUME_YET"
        case notOnline = "NOT_ONLINE"
        case broadcasting = "CONSUME_BROADCASTING"
        case unknown = "UNKNOWN"
    }

    var group: String
    var type: Kind
    /// Why nothing better is known.
    var reason = ""

    var json: JSONValue {
        ["consumerGroup": .string(group), "exceptionDesc": .string(reason), "trackType": .string(type.rawValue)]
    }

    /// All groups that consume the message's topic.
    static func all(of message: MessageExt, _ context: AdminContext) async throws(AdminError) -> [MessageTrack] {
        guard let route = try await context.client.route(ofTopic: message.topic) else { return [] }
        let members = AdminClient.members(of: route)
        var groups: Set<String> = []
        for member in members { groups.formUnion(try await context.client.groups(consuming: message.topic, atBroker: member.address)) }
        // The broker that has the message: the one at the address in its record, or the only one there is.
        let home = members.first { $0.address == "\(message.storeHost)" } ?? (members.count == 1 ? members[0] : nil)
        var tracks: [MessageTrack] = []
        for group in groups.sorted() {
            do throws(AdminError) {
                tracks.append(MessageTrack(group: group, type: try await kind(of: group, message, home, context)))
            } catch {
                tracks.append(MessageTrack(group: group, type: .unknown, reason: error.message))
            }
        }
        return tracks
    }

    private static func kind(
        of group: String, _ message: MessageExt, _ home: AdminClient.Member?, _ context: AdminContext
    ) async throws(AdminError) -> Kind {
        guard let home else { return .unknown }
        guard let members = try await context.client.members(ofGroup: group, atBroker: home.address) else { return .notOnline }
        guard members.consumeType != .actively else { return .pull }
        guard members.messageModel != .broadcasting else { return .broadcasting }
        let progress = try await context.client.consumeStatistics(ofGroup: group, topic: message.topic, atBroker: home.address)
        let queue = MessageQueue(topic: message.topic, brokerName: home.brokerName, queueID: message.queueID)
        guard let offset = progress.offsetTable[queue], offset.consumerOffset > message.queueOffset else { return .notConsumedYet }
        guard let subscription = members.subscriptionTable[message.topic], subscription.isTagExpression, !subscription.wantsAll else {
            return .consumed
        }
        return subscription.tagsSet.contains(message.tag ?? "") ? .consumed : .consumedButFiltered
    }
}
