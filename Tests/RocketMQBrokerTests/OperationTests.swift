import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct OperationTests {
    @Test("Settings are changed by a request, all of it or nothing")
    func settings() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        var changes: [String] = []
        scene.settings.onChange = { _, changed in changes += changed.map(\.name) }
        func change(_ text: String) throws -> RemotingCommand { try tool.call(.updateBrokerConfig, body: Array(text.utf8)) }
        #expect(try change("longPollingEnable=false\n").responseCode == .success)
        #expect(changes == ["longPollingEnable"])
        #expect(!scene.settings.values[BrokerSettings.longPollingEnable])
        for (text, code) in [
            ("configBlackList=x", ResponseCode.noPermission), ("longPollingEnable=true\nlistenPort=1", .systemError),
            ("longPollingEnable=true\nlongPollingEnabled=true", .systemError), ("brokerPermission=99", .systemError),
        ] {
            let answer = try change(text)
            #expect(answer.responseCode == code, "\(text)")
            #expect(answer.remark?.isEmpty == false)
        }
        #expect(!scene.settings.values[BrokerSettings.longPollingEnable], "nothing of a refused request counts")
        let answer = try change("sendMessageThreadPoolNums=16\nlongPollingEnable=true")
        #expect(answer.responseCode == .success)
        #expect(answer.remark?.contains("sendMessageThreadPoolNums has no effect here") == true)
        let shown = try tool.call(.getBrokerConfig)
        #expect(String(decoding: shown.body, as: UTF8.self).contains("longPollingEnable=true\n"))
        #expect(shown.fields["version"]?.contains("\"counter\":2") == true)
    }

    @Test("The runtime table has what the reference's tools read, with true rates and totals")
    func runtime() throws {
        let scene = try AdminScene()
        scene.statistics.start(on: scene.loop)
        let tool = try scene.client()
        try scene.append("T")
        let first = scene.loop.clock.wallMilliseconds
        for _ in 0..<120 {
            scene.totals.putMessages += 100
            scene.totals.putBytes += 12_800
            scene.totals.gotMessages += 50
            scene.loop.advance(by: .seconds(1))
        }
        let table = try KVTable(decoding: tool.call(.getBrokerRuntimeInfo).body).table
        #expect(table["putTps"]?.split(separator: " ").count == 3)
        let rates = try #require(table["putTps"]).split(separator: " ").compactMap { Double($0) }
        #expect(rates.allSatisfy { abs($0 - 100) < 15 }, "\(rates)")
        #expect(table["msgPutTotalTodayNow"] == "12000" && table["msgGetTotalTodayNow"] == "6000")
        #expect(table["putMessageAverageSize"] == "128.00")
        #expect(table["commitLogMaxOffset"] == "\(scene.store.writtenOffset)" && table["commitLogMinOffset"] == "0")
        #expect(table["earliestMessageTimeStamp"] == "\(first)")
        #expect(table["runtime"] == "[ 0 days, 0 hours, 2 minutes, 0 seconds ]")
        #expect(table["commitLogDirCapacity"]?.hasPrefix("Total : ") == true)
        for name in [
            "brokerVersionDesc", "bootTimestamp", "msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning", "msgGetTotalYesterdayMorning",
            "msgGetTotalTodayMorning", "getTransferedTps", "sendThreadPoolQueueSize", "pullThreadPoolQueueSize",
            "sendThreadPoolQueueHeadWaitTimeMills", "pullThreadPoolQueueHeadWaitTimeMills", "pageCacheLockTimeMills", "commitLogDiskRatio",
        ] { #expect(table[name] != nil, "\(name)") }
    }

    @Test("Totals of the day begin anew at midnight")
    func midnight() throws {
        let scene = try AdminScene()
        scene.statistics.start(on: scene.loop)
        scene.totals.putMessages = 10
        scene.loop.advance(by: .seconds(86_400))
        #expect(scene.statistics.atMidnight.putMessages == 10)
        scene.totals.putMessages = 25
        scene.loop.advance(by: .seconds(86_400))
        #expect(scene.statistics.atMidnight.putMessages == 25 && scene.statistics.atMidnightBefore.putMessages == 10)
    }

    @Test(
        "Numbers are written as the reference's tools print them",
        arguments: [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (UInt64.max, "16.0 EiB")] as [(UInt64, String)])
    func readableBytes(count: UInt64, text: String) {
        #expect(ReadableNumber.bytes(count) == text)
    }

    @Test("Decimals are rounded and padded")
    func decimals() {
        #expect(ReadableNumber.decimal(1.005, digits: 1) == "1.0")
        #expect(ReadableNumber.decimal(0.999, digits: 2) == "1.00")
        #expect(ReadableNumber.decimal(12.03, digits: 2) == "12.03")
        #expect(ReadableNumber.decimal(.nan, digits: 2) == "0")
    }
}
