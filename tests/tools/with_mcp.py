# Starts the MCP server that its arguments name, and has it call its tool for each line of standard input.
import asyncio
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            result = await session.call_tool("project_names", {})
            text = " ".join(content.text for content in result.content)
            print("error" if result.is_error else "ok", text, flush=True)


asyncio.run(main())
