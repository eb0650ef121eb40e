import RocketMQProtocol

/// One step of dividing queues: what this client has to take up and to give away so that it has what is its own. Pure.
struct Rebalance: Equatable {
    /// To begin with, in order.
    var taken: [MessageQueue] = []
    /// To give away.
    var givenUp: [MessageQueue] = []

    var isEmpty: Bool { taken.isEmpty && givenUp.isEmpty }

    /// For one topic. A client that is not among the members yet has nothing; its heartbeat is on its way.
    init(
        group: String, clientID: String, queues: [MessageQueue], members: [String], owned: Set<MessageQueue>,
        strategy: any AllocateMessageQueueStrategy
    ) {
        let members = Set(members).sorted(by: JavaOrder.precedes)
        let queues = queues.sorted()
        let allotted =
            members.contains(clientID)
            ? strategy.allocate(group: group, clientID: clientID, queues: queues, clientIDs: members) : []
        let wanted = Set(allotted).intersection(queues)
        taken = wanted.subtracting(owned).sorted()
        givenUp = owned.subtracting(wanted).sorted()
    }
    /// For one topic of a consumer that shares nothing: it has all queues.
    init(broadcasting queues: [MessageQueue], owned: Set<MessageQueue>) {
        let wanted = Set(queues)
        taken = wanted.subtracting(owned).sorted()
        givenUp = owned.subtracting(wanted).sorted()
    }
}
