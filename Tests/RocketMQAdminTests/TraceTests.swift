import RocketMQClient
import RocketMQProtocol
import Testing

@testable import RocketMQAdmin

/// Message trace, as tools read it.
@Suite(.timeLimit(.minutes(2)))
struct TraceTests {
    @Test("A traced message: who sent it and when; one that was not traced; a cluster without traces")
    func trace() async throws {
        let cluster = try Cluster(settings: ["traceTopicEnable": "true"])
        let topics = await cluster.run("topicList").split(separator: "\n")
        #expect(topics.contains("RMQ_SYS_TRACE_TOPIC"))
        let sent = try #require(
            await cluster.json("sendMessage", "-t", "Orders", "-p", "x", "-k", "order-42", "-m", "true").first?.array?.first)
        let id = try #require(sent["messageId"]?.string)
        let found = try #require(await cluster.json("queryMsgTraceById", "-i", id).first?.array)
        #expect(found.count == 1)
        #expect(found[0]["type"] == "Pub" && found[0]["group"] == "TOOLS_PRODUCER" && found[0]["status"] == "success")
        #expect(found[0]["clientHost"] == "127.0.0.1")
        let table = await cluster.run("queryMsgTraceById", "-i", id)
        #expect(table.contains("TOOLS_PRODUCER") && table.contains("Pub") && table.contains("127.0.0.1"), "\(table)")
        // By the user's key too, as any message.
        #expect(await cluster.run("queryMsgByKey", "-t", "RMQ_SYS_TRACE_TOPIC", "-k", "order-42").contains("RMQ") == false)
        let untraced = try #require(await cluster.json("sendMessage", "-t", "Orders", "-p", "x").first?.array?.first)
        #expect(await cluster.failure("queryMsgTraceById", "-i", untraced["messageId"]?.string ?? "").contains("RMQ_SYS_TRACE_TOPIC"))
        // A listener that is still at a message, or whose process died over it.
        let begun = TraceRecord.consuming(
            .init(timestamp: 7, regionID: "R", group: "billing", requestID: "R1", messageID: id, retryTimes: 2, keys: nil))
        _ = await cluster.run("sendMessage", "-t", "RMQ_SYS_TRACE_TOPIC", "-p", begun.encoded, "-k", id)
        let rows = try #require(await cluster.json("queryMsgTraceById", "-i", id).first?.array)
        #expect(rows.count == 2 && rows[0]["type"] == "Sub" && rows[0]["group"] == "billing" && rows[0]["status"] == "not ended")
        let none = try Cluster()
        #expect(await none.failure("queryMsgTraceById", "-i", id).contains("no name server knows topic RMQ_SYS_TRACE_TOPIC"))
    }
}
