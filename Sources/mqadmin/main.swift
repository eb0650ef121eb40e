import RocketMQAdmin

await AdminProgram.main()
