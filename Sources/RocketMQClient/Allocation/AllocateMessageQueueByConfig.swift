import RocketMQProtocol

/// Each member has the queues that its own configuration names, whoever else is there.
public struct AllocateMessageQueueByConfig: AllocateMessageQueueStrategy {
    /// The queues of this member.
    public var messageQueues: [MessageQueue]
    /// Divides the topics of which `messageQueues` names no queue: the group's retry topic first of all.
    public var others: any AllocateMessageQueueStrategy

    /// What this client owns: `messageQueues`, as far as the topic has them. `others` divides the queues of topics that it names none of.
    public init(messageQueues: [MessageQueue], others: any AllocateMessageQueueStrategy = .averagely) {
        self.messageQueues = messageQueues
        self.others = others
    }

    public var name: String { "CONFIG" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        let topics = Set(queues.map(\.topic))
        guard messageQueues.contains(where: { topics.contains($0.topic) }) else {
            return others.allocate(group: group, clientID: clientID, queues: queues, clientIDs: clientIDs)
        }
        return queues.filter(messageQueues.contains)
    }
}

extension AllocateMessageQueueStrategy where Self == AllocateMessageQueueByConfig {
    /// The queues that this client owns, named by its user: the same for it however many members there are.
    public static func configured(_ messageQueues: [MessageQueue], others: any AllocateMessageQueueStrategy = .averagely) -> Self {
        AllocateMessageQueueByConfig(messageQueues: messageQueues, others: others)
    }
}
