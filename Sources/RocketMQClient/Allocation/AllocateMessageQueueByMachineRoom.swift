import RocketMQProtocol

/// Only queues of certain machine rooms are consumed, divided averagely. For clusters whose brokers are named `room@broker`.
public struct AllocateMessageQueueByMachineRoom: AllocateMessageQueueStrategy {
    /// The rooms to consume from. Queues of all other brokers have no owner.
    public var rooms: Set<String>

    /// The machine rooms whose queues are divided: a broker's room stands before the `@` of its name.
    public init(rooms: Set<String>) { self.rooms = rooms }
    public var name: String { "MACHINE_ROOM" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        guard let index = clientIDs.firstIndex(of: clientID) else { return [] }
        let ours = queues.filter { queue in
            let parts = queue.brokerName.split(separator: "@", omittingEmptySubsequences: false)
            return parts.count == 2 && rooms.contains(String(parts[0]))
        }
        // Neighbours first, then those left over one each from the end, as the Java client does.
        let (share, rest) = ours.count.quotientAndRemainder(dividingBy: clientIDs.count)
        let neighbours = ours[(index * share)..<((index + 1) * share)]
        return neighbours + (index < rest ? [ours[clientIDs.count * share + index]] : [])
    }
}

/// Queues are consumed in the machine room of their broker where a member is there; the rest is shared by all.
public struct AllocateMachineRoomNearby: AllocateMessageQueueStrategy {
    /// Divides the queues of a room among its members, and the rest among all.
    public var strategy: any AllocateMessageQueueStrategy
    /// The room of a queue's broker; `nil` counts as a room without members.
    public var brokerRoom: @Sendable (MessageQueue) -> String?
    /// The room of a client (`address@instance`); `nil` for one that only gets what is shared by all.
    public var clientRoom: @Sendable (String) -> String?

    /// All members must resolve rooms alike, and divide by the same strategy.
    public init(
        dividingBy strategy: any AllocateMessageQueueStrategy = .averagely, brokerRoom: @escaping @Sendable (MessageQueue) -> String?,
        clientRoom: @escaping @Sendable (String) -> String?
    ) {
        self.strategy = strategy
        self.brokerRoom = brokerRoom
        self.clientRoom = clientRoom
    }

    public var name: String { "MACHINE_ROOM_NEARBY-\(strategy.name)" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        let membersByRoom = Dictionary(grouping: clientIDs) { clientRoom($0) }
        let queuesByRoom = Dictionary(grouping: queues) { brokerRoom($0) }
        let ownRoom = clientRoom(clientID)
        var allotted: [MessageQueue] = []
        for (room, queues) in queuesByRoom {
            if room != nil, let members = membersByRoom[room] {
                guard room == ownRoom else { continue }
                allotted += strategy.allocate(group: group, clientID: clientID, queues: queues, clientIDs: members)
            } else {
                allotted += strategy.allocate(group: group, clientID: clientID, queues: queues, clientIDs: clientIDs)
            }
        }
        return allotted.sorted()
    }
}

extension AllocateMessageQueueStrategy where Self == AllocateMessageQueueByMachineRoom {
    /// Only queues of brokers in these rooms, divided evenly; see `AllocateMessageQueueByMachineRoom`.
    public static func machineRoom(_ rooms: String...) -> Self { AllocateMessageQueueByMachineRoom(rooms: Set(rooms)) }
    /// Only queues of brokers in these rooms, divided evenly; see `AllocateMessageQueueByMachineRoom`.
    public static func machineRoom(_ rooms: Set<String>) -> Self { AllocateMessageQueueByMachineRoom(rooms: rooms) }
}

extension AllocateMessageQueueStrategy where Self == AllocateMachineRoomNearby {
    public static func machineRoomNearby(
        dividingBy strategy: any AllocateMessageQueueStrategy = .averagely, brokerRoom: @escaping @Sendable (MessageQueue) -> String?,
        clientRoom: @escaping @Sendable (String) -> String?
    ) -> Self {
        AllocateMachineRoomNearby(dividingBy: strategy, brokerRoom: brokerRoom, clientRoom: clientRoom)
    }
}
