import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

@Suite struct RouteTests {
    static func broker(_ name: String, _ addresses: [Int64: String]) -> BrokerData {
        BrokerData(cluster: "c", brokerName: name, brokerAddrs: addresses)
    }

    static func data(_ name: String, read: Int32 = 2, write: Int32 = 2, _ perm: Permission = .readWrite) -> QueueData {
        QueueData(brokerName: name, readQueueNums: read, writeQueueNums: write, perm: perm)
    }

    @Test func publishesToWritableQueuesOfBrokersWithAMaster() {
        let route = TopicRouteData(
            queueDatas: [Self.data("b"), Self.data("a", write: 1), Self.data("readonly", .read), Self.data("slaveOnly")],
            brokerDatas: [
                Self.broker("b", [0: "h:1"]), Self.broker("a", [0: "h:2", 1: "h:3"]), Self.broker("readonly", [0: "h:4"]),
                Self.broker("slaveOnly", [1: "h:5"]),
            ])
        let info = TopicPublishInfo(topic: "T", route: route)
        #expect(info.queues.map(\.description) == ["T@a:0", "T@b:0", "T@b:1"])
        #expect(!info.isOrdered)
        let readable = TopicPublishInfo.readableQueues(topic: "T", route: route).map(\.description)
        #expect(readable == ["T@a:0", "T@a:1", "T@b:0", "T@b:1", "T@readonly:0", "T@readonly:1", "T@slaveOnly:0", "T@slaveOnly:1"])
    }

    @Test func anOrderedTopicHasTheQueuesOfItsConfiguration() {
        let route = TopicRouteData(orderTopicConf: "b:2;a:1;broken;c:x", queueDatas: [], brokerDatas: [])
        let info = TopicPublishInfo(topic: "T", route: route)
        #expect(info.queues.map(\.description) == ["T@b:0", "T@b:1", "T@a:0"])
        #expect(info.isOrdered)
    }

    @Test func aTemplateGivesAtMostTheQueuesAskedFor() {
        let route = TopicRouteData(queueDatas: [Self.data("a", read: 8, write: 8)], brokerDatas: [Self.broker("a", [0: "h:1"])])
        #expect(TopicPublishInfo(topic: "T", route: route.asTemplate(queueCount: 4)).queues.count == 4)
        #expect(TopicPublishInfo(topic: "T", route: route.asTemplate(queueCount: 40)).queues.count == 8)
    }

    @Test func aHostileQueueCountIsBounded() {
        let route = TopicRouteData(
            queueDatas: [Self.data("a", read: .max, write: .max), Self.data("b", read: -1, write: -1)],
            brokerDatas: [Self.broker("a", [0: "h:1"]), Self.broker("b", [0: "h:2"])])
        #expect(TopicPublishInfo(topic: "T", route: route).queues.count == 65_536)
    }

    @Test func onlyChangesAreReported() {
        var table = RouteTable()
        let route = TopicRouteData(queueDatas: [Self.data("a")], brokerDatas: [Self.broker("a", [0: "h:1"])])
        let changes = [table.update("T", route), table.update("T", route), table.update("U", route)]
        #expect(changes == [.init(isChanged: true, newAddresses: ["h:1"]), .init(), .init(isChanged: true)])
        var moved = route
        moved.brokerDatas[0].brokerAddrs = [0: "h:2", 1: "h:3"]
        let change = table.update("T", moved)
        #expect(change == .init(isChanged: true, newAddresses: ["h:2", "h:3"]))
        table.forget("U")
        #expect(table.masterAddress("a") == "h:2")
        #expect(table.heartbeatAddresses(includingSlaves: false) == ["h:2"])
        #expect(table.heartbeatAddresses(includingSlaves: true) == ["h:2", "h:3"])
        #expect(table.readAddress("a", preferring: 1)! == ("h:3", true))
        #expect(table.readAddress("a", preferring: 9)! == ("h:2", false))
    }

    @Test func aTopicFromTheTemplateIsNotConsumedFrom() {
        var table = RouteTable()
        let route = TopicRouteData(queueDatas: [Self.data("a")], brokerDatas: [Self.broker("a", [0: "h:1"])])
        _ = table.update("T", route, isTemplate: true)
        #expect(table.publishInfo("T")?.queues.count == 2)
        #expect(table.readableQueues("T") == nil && !table.isKnown("T"))
        let change = table.update("T", route)
        #expect(change.isChanged)
        #expect(table.readableQueues("T")?.count == 2)
    }

    @Test func aMissingTopicIsLookedForLessAndLessOften() {
        var table = RouteTable()
        var now = MonotonicTime(nanoseconds: 0)
        var waits: [Int64] = []
        for _ in 0..<8 {
            table.noteMissing("T", now: now)
            let start = now
            while !table.isDue("T", now: now) { now = now + .seconds(1) }
            waits.append((now - start).inMilliseconds / 1000)
        }
        #expect(waits == [1, 2, 4, 8, 16, 30, 30, 30])
    }

    @Test func anotherNameServerHasItsTurnWhenOneFails() {
        var random = RandomSource(seed: 1)
        var selection = NameServerSelection(["a", "b", "c"], random: &random)
        let first = selection.current
        selection.failed(first)
        let second = selection.current
        #expect(second != first)
        // A late failure of the first does not move on again.
        selection.failed(first)
        #expect(selection.current == second)
        selection.failed(second)
        #expect(Set([first, second, selection.current]).count == 3)
    }
}
