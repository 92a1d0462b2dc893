# A host of MCP servers: starts the server "rally" of the JSON file that its argument names, and for each line of standard
# input has it call the tool of that name.
import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    with open(sys.argv[1]) as file:
        wanted = json.load(file)["mcpServers"]["rally"]
    server = StdioServerParameters(command=wanted["command"], args=wanted["args"], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        while line := await asyncio.to_thread(sys.stdin.readline):
            result = await session.call_tool(line.strip(), {})
            print(" ".join(content.text for content in result.content), flush=True)


asyncio.run(main())
