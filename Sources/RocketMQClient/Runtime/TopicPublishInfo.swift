import RocketMQProtocol

/// The queues of a topic that can be sent to, in the order that all clients agree on.
struct TopicPublishInfo: Sendable, Equatable {
    var topic: String
    var queues: [MessageQueue]
    /// Whether the topic's queues are fixed by the nameserver's order configuration.
    var isOrdered = false

    /// From a route: the queues of brokers that have a master and may be written to; or, for an ordered topic, the queues
    /// that its configuration (`broker-a:4;broker-b:4`) lists, whether their broker is up or not.
    init(topic: String, route: TopicRouteData) {
        self.topic = topic
        queues = []
        if let order = route.orderTopicConf, !order.isEmpty {
            isOrdered = true
            for entry in order.split(separator: ";") {
                let parts = entry.split(separator: ":")
                guard parts.count == 2, let count = Int32(parts[1]), count > 0, count <= Self.mostQueues else { continue }
                append(String(parts[0]), count)
            }
            return
        }
        let masters = Set(route.brokerDatas.filter { $0.masterAddress != nil }.map(\.brokerName))
        for data in route.queueDatas.sorted(by: { JavaOrder.precedes($0.brokerName, $1.brokerName) })
        where data.perm.contains(.write) && masters.contains(data.brokerName) {
            append(data.brokerName, min(max(data.writeQueueNums, 0), Self.mostQueues))
        }
    }

    private mutating func append(_ brokerName: String, _ count: Int32) {
        for queueID in 0..<count { queues.append(MessageQueue(topic: topic, brokerName: brokerName, queueID: queueID)) }
    }

    /// More queues than this on one broker cannot be meant; a nameserver must not make this client run out of memory.
    static let mostQueues: Int32 = 65_536

    /// The queues of a topic that can be read, in the order that all members of a group allocate them by.
    static func readableQueues(topic: String, route: TopicRouteData) -> [MessageQueue] {
        var queues: [MessageQueue] = []
        for data in route.queueDatas where data.perm.contains(.read) {
            for queueID in 0..<min(max(data.readQueueNums, 0), mostQueues) {
                queues.append(MessageQueue(topic: topic, brokerName: data.brokerName, queueID: queueID))
            }
        }
        return queues.sorted()
    }
}

extension TopicRouteData {
    /// The route that a topic will have when brokers create it from the template topic whose route this is: as many queues
    /// as the producer asks for, at most those of the template.
    func asTemplate(queueCount: Int32) -> TopicRouteData {
        var route = self
        for index in route.queueDatas.indices {
            let count = min(queueCount, route.queueDatas[index].readQueueNums)
            route.queueDatas[index].readQueueNums = count
            route.queueDatas[index].writeQueueNums = count
        }
        return route
    }
}
