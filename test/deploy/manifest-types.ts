/** Holds manifests against Kubernetes' own types: each becomes a TypeScript literal, where an unknown field is an error. */
import { resolve } from 'node:path'
import ts from 'typescript'

/** What may be deployed: newest stable versions only, as the types have old ones too. No Secret: none belongs into this tree. */
const types: Readonly<Record<string, { readonly module: string, readonly type: string }>> = {
  'v1 Namespace': { module: 'v1/Namespace', type: 'INamespace' },
  'v1 ServiceAccount': { module: 'v1/ServiceAccount', type: 'IServiceAccount' },
  'v1 ConfigMap': { module: 'v1/ConfigMap', type: 'IConfigMap' },
  'v1 PersistentVolumeClaim': { module: 'v1/PersistentVolumeClaim', type: 'IPersistentVolumeClaim' },
  'v1 Service': { module: 'v1/Service', type: 'IService' },
  'apps/v1 Deployment': { module: 'apps/v1/Deployment', type: 'IDeployment' },
  'networking.k8s.io/v1 Ingress': { module: 'networking.k8s.io/v1/Ingress', type: 'IIngress' },
  'networking.k8s.io/v1 NetworkPolicy': { module: 'networking.k8s.io/v1/NetworkPolicy', type: 'INetworkPolicy' },
  'policy/v1 PodDisruptionBudget': { module: 'policy/v1/PodDisruptionBudget', type: 'IPodDisruptionBudget' },
}

/** One line for each fault; none for manifests that an API server would take. */
export function typeFaults (manifests: readonly { readonly apiVersion: string, readonly kind: string }[]): string[] {
  const unknown = manifests.filter(({ apiVersion, kind }) => types[`${apiVersion} ${kind}`] === undefined)
  if (unknown.length > 0) return unknown.map(({ apiVersion, kind }) => `${apiVersion} ${kind} is not among what may be deployed`)
  const source = manifests.map((manifest, index) => {
    const { module, type } = types[`${manifest.apiVersion} ${manifest.kind}`] ?? { module: '', type: '' }
    return `import type { ${type} as T${index} } from 'kubernetes-models/${module}'\nexport const m${index}: T${index} = ${JSON.stringify(manifest)}\n`
  }).join('')

  const file = resolve(import.meta.dirname, 'manifests-as-literals.ts')
  const options: ts.CompilerOptions = { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2023, strict: true, skipLibCheck: true, noEmit: true, types: [] }
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = (name) => name === file || fileExists(name)
  host.getSourceFile = (name, ...rest) => name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2023) : getSourceFile(name, ...rest)
  const program = ts.createProgram([file], options, host)
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))
}
