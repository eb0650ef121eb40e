import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct GroupTests {
    @Test("Unknown groups are created when that is allowed, with the reference's defaults")
    func creation() throws {
        let scene = try AdminScene()
        let before = scene.groups.dataVersion.counter
        let group = try #require(scene.groups.find("orders"))
        #expect(group.config == SubscriptionGroupConfig(groupName: "orders"))
        #expect(scene.groups.find("orders") === group)
        #expect(scene.groups.dataVersion.counter == before + 1)
        #expect(scene.groups.find("no blanks") == nil)
        scene.loop.settle()
        #expect(scene.folder.read("config/subscriptionGroup.json")?.contains("\"groupName\":\"orders\"") == true)
        #expect(try AdminScene(createsGroups: false).groups.find("orders") == nil)
        for name in ["TOOLS_CONSUMER", "CID_ONS-HTTP-PROXY", "SELF_TEST_C_GROUP"] {
            #expect(try AdminScene(createsGroups: false).groups.find(name) != nil)
        }
    }

    @Test("A changed group is the same object; a deleted one says so")
    func identity() throws {
        let scene = try AdminScene()
        let group = try #require(scene.groups.find("orders"))
        scene.groups.update(SubscriptionGroupConfig(groupName: "orders", consumeEnable: false))
        #expect(!group.config.consumeEnable)
        #expect(scene.groups.remove("orders"))
        #expect(group.isRemoved)
        #expect(!scene.groups.remove("orders"))
    }

    @Test("A group is created by the reference's request, and the answer leaves when it is on the disk")
    func update() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        let body = """
            {"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"groupName":"vec_cg",\
            "notifyConsumerIdsChangedEnable":true,"retryMaxTimes":3,"retryQueueNums":2,"whichBrokerWhenConsumeSlowly":1}
            """
        scene.tableWorker.hold()
        let opaque = tool.send(.request(.updateAndCreateSubscriptiongroup, body: Array(body.utf8)))
        scene.loop.settle()
        #expect(tool.takeAnswer(to: opaque) == nil)
        #expect(scene.folder.read("config/subscriptionGroup.json") == nil)
        scene.tableWorker.release()
        scene.loop.settle()
        #expect(tool.takeAnswer(to: opaque)?.responseCode == .success)
        #expect(scene.folder.read("config/subscriptionGroup.json")?.contains("vec_cg") == true)
        #expect(scene.groups.existing("vec_cg")?.config.retryMaxTimes == 3)

        let all = try SubscriptionGroupWrapper(decoding: tool.call(.getAllSubscriptiongroupConfig).body)
        #expect(all.subscriptionGroupTable.count == SubscriptionGroupTable.predefined.count + 1)
        #expect(all.dataVersion == scene.groups.dataVersion)
        let one = try tool.call(.getSubscriptiongroupConfig, ["group": "vec_cg"])
        #expect(try SubscriptionGroupConfig(decoding: one.body).retryQueueNums == 2)
    }

    @Test("Several groups at once, and requests that make no sense")
    func listAndRefusals() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        let list = "{\"groupConfigList\":[{\"groupName\":\"a\"},{\"groupName\":\"b\",\"retryMaxTimes\":1}]}"
        #expect(try tool.call(.updateAndCreateSubscriptiongroupList, body: Array(list.utf8)).responseCode == .success)
        #expect(scene.groups.existing("b")?.config.retryMaxTimes == 1)
        for body in ["", "{", "{\"groupName\":\"a b\"}", "{\"groupName\":\"\"}", "{\"groupName\":\"c\",\"retryQueueNums\":-1}", "[]"] {
            let answer = try tool.call(.updateAndCreateSubscriptiongroup, body: Array(body.utf8))
            #expect(answer.responseCode == .systemError, "\(body)")
            #expect(answer.remark?.isEmpty == false)
        }
        #expect(scene.groups.existing("c") == nil)
    }

    @Test("Deleting a group takes its offsets along when asked to")
    func deletion() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        for group in ["a", "b"] {
            _ = scene.groups.find(group)
            scene.offsets.commit(group: group, topic: "T", queueID: 0, offset: 5)
        }
        #expect(try tool.call(.deleteSubscriptiongroup, ["groupName": "a"]).responseCode == .success)
        #expect(try tool.call(.deleteSubscriptiongroup, ["groupName": "b", "removeOffset": "true"]).responseCode == .success)
        #expect(scene.groups.existing("a") == nil && scene.groups.existing("b") == nil)
        #expect(scene.offsets.offset(group: "a", topic: "T", queueID: 0) == 5)
        #expect(scene.offsets.offset(group: "b", topic: "T", queueID: 0) == nil)
        #expect(scene.folder.read("config/consumerOffset.json")?.contains("T@b") == false)
    }
}
